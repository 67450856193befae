//! Who waits for an upstream: a client whose exchange it is, or a try beside one, which has a deadline of its own and
//! nobody to watch.

use std::{future::poll_fn, pin::Pin, rc::Rc, task::Poll};

use super::{
    Core,
    admission::Aside,
    client::{Client, Interrupted},
};
use crate::{
    base::units::Instant,
    io::{
        net::{Net, Reader, Writer},
        wheel::Timer,
    },
};

/// Someone who waits for an upstream.
pub trait Waiter<N: Net> {
    /// The core that it waits on.
    fn core(&self) -> &Rc<Core<N>>;

    /// The monotonic clock.
    fn now(&self) -> Instant {
        self.core().net.now()
    }

    /// Runs `work`, which is taken pinned, until `deadline`, or until there is nobody to run it for.
    fn unless_gone<T>(
        &mut self,
        deadline: Instant,
        work: impl Future<Output = T> + Unpin,
    ) -> impl Future<Output = Result<T, Interrupted>> + Unpin;

    /// Counts an answer that is held back.
    fn holds(&mut self, bytes: usize);
}

impl<N: Net, R: Reader, W: Writer> Waiter<N> for Client<N, R, W> {
    fn core(&self) -> &Rc<Core<N>> {
        &self.core
    }

    fn unless_gone<T>(
        &mut self,
        deadline: Instant,
        work: impl Future<Output = T> + Unpin,
    ) -> impl Future<Output = Result<T, Interrupted>> + Unpin {
        Client::unless_gone(self, deadline, work)
    }

    fn holds(&mut self, bytes: usize) {
        self.hold.answer(bytes);
    }
}

/// A try that runs beside an exchange.
pub struct Beside<N: Net> {
    core: Rc<Core<N>>,
    timer: Timer,
    held: Aside,
    /// Whether it ends when the core drains: then no client waits for what comes of it.
    ends_with_core: bool,
}

impl<N: Net> Beside<N> {
    /// A try that some exchange waits for.
    pub fn exchange(core: &Rc<Core<N>>, held: Aside) -> Beside<N> {
        Beside { core: Rc::clone(core), timer: core.wheel.timer(), held, ends_with_core: false }
    }

    /// A try that nobody waits for.
    pub fn nobody(core: &Rc<Core<N>>, held: Aside) -> Beside<N> {
        Beside { ends_with_core: true, ..Beside::exchange(core, held) }
    }
}

impl<N: Net> Waiter<N> for Beside<N> {
    fn core(&self) -> &Rc<Core<N>> {
        &self.core
    }

    fn unless_gone<T>(
        &mut self,
        deadline: Instant,
        mut work: impl Future<Output = T> + Unpin,
    ) -> impl Future<Output = Result<T, Interrupted>> + Unpin {
        let Beside { core, timer, ends_with_core, .. } = self;
        poll_fn(move |cx| {
            if let Poll::Ready(value) = Pin::new(&mut work).poll(cx) {
                timer.clear();
                return Poll::Ready(Ok(value));
            }
            // A drain wakes every wait, as a cut does, and so has this looked at again.
            if core.cutting.get() || *ends_with_core && core.draining.get() {
                return Poll::Ready(Err(Interrupted::ClientGone));
            }
            timer.poll_due(&core.net, deadline, cx).map(|_| Err(Interrupted::Deadline))
        })
    }

    fn holds(&mut self, bytes: usize) {
        self.held.answer(bytes);
    }
}
