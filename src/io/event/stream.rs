//! What a task does with a descriptor: waits, receives, sends. Every wait may be given up at any time; nothing that
//! came is lost by it.
#![expect(
    unsafe_code,
    reason = "bytes are received into the spare room of a buffer, whose length is then set"
)]

use std::{
    io::{self, IoSlice},
    os::fd::BorrowedFd,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use rustix::{
    io::Errno,
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown},
};
use smallvec::SmallVec;

use super::{
    Core, EventLoop, Interface, Watched,
    source::{Receiving, Source, SourceKey, Way},
};
use crate::{
    base::limits,
    io::{buffer::WriteList, pages::Pages},
};

/// A descriptor of the loop; closed when it is dropped.
pub struct Descriptor {
    events: EventLoop,
    key: SourceKey,
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let watched = &mut *self.core().watched.borrow_mut();
        watched.send(self.key);
        let Watched { sources, driver, .. } = watched;
        let Some(mut source) = sources.remove(self.key) else { return };
        if let Interface::Ring(ring) = driver {
            ring.forget(self.key, &source);
        }
        source.received.give_back(&self.core().pages);
    }
}

impl Descriptor {
    pub(super) fn new(events: EventLoop, key: SourceKey) -> Descriptor {
        Descriptor { events, key }
    }

    fn core(&self) -> &Core {
        &self.events.core
    }

    /// Its loop.
    #[must_use]
    pub fn events(&self) -> &EventLoop {
        &self.events
    }

    /// Does something with the descriptor.
    pub fn with<T>(&self, act: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        act(self.core().watched.borrow().sources[self.key].fd())
    }

    /// Tries an operation towards us or away from us, now and each time there is reason to, until it does not ask to be
    /// tried later.
    pub fn poll_io<T>(
        &self,
        way: Way,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let watched = &mut *self.core().watched.borrow_mut();
        watched.poll_io(self.key, way, cx, |source| operation(source.fd()))
    }

    /// Waits until it may be sent to: a connection is there, or has failed.
    pub fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_io(Way::Out, cx, |_| Ok(())))?;
        Poll::Ready(self.with(|fd| match rustix::net::sockopt::socket_error(fd)? {
            Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }))
    }

    /// Receives: puts what came behind what is in `buffer`. `Ok(0)`: the peer sends no more. An empty buffer is taken
    /// away, unless slices still point into it, or another one put in its place; one with much room behind what it
    /// holds is received into.
    pub fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let core = self.core();
        if buffer.is_empty() && buffer.capacity() > 0 {
            core.pages.give_unless_shared(buffer);
        }
        let watched = &mut *core.watched.borrow_mut();
        if buffer.capacity() - buffer.len() >= limits::DIRECT_READ_BYTES {
            watched.sources[self.key].expect_long();
        }
        match watched.driver {
            Interface::Ring(_) => watched.poll_ring(core, self.key, cx, buffer),
            Interface::Epoll(_) => watched.poll_direct(core, self.key, cx, buffer),
        }
    }

    /// Writes all that is in `list`, in order. It is sent at the end of the turn; what is longer than may lie here
    /// until then is sent at once, and waited for. Who is alone in a turn sends what is short at once.
    pub fn poll_send(&self, cx: &mut Context<'_>, list: &mut WriteList) -> Poll<io::Result<()>> {
        let core = self.core();
        let watched = &mut *core.watched.borrow_mut();
        ready!(watched.poll_sent(self.key, cx))?;
        if list.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let source = &mut watched.sources[self.key];
        if let Interface::Ring(ring) = &mut watched.driver
            && source.output.ready
            && list.is_short()
        {
            ring.send_short(self.key, source, list);
            if watched.due.long.is_empty() && core.is_alone() {
                ring.flush();
            }
            return Poll::Ready(Ok(()));
        }
        std::mem::swap(&mut source.unsent, list);
        list.clear();
        if source.unsent_is_long() {
            watched.send(self.key);
            return watched.poll_sent(self.key, cx);
        }
        watched.due.send.push(self.key);
        if watched.due.send.len() >= limits::SENDS_GATHERED_MAX {
            watched.send_all();
        }
        Poll::Ready(Ok(()))
    }

    /// Sends what was written, and then says that nothing more will come.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let watched = &mut *self.core().watched.borrow_mut();
        watched.send(self.key);
        ready!(watched.poll_sent(self.key, cx))?;
        let fd = watched.sources[self.key].fd();
        Poll::Ready(Ok(rustix::net::shutdown(fd, Shutdown::Write)?))
    }
}

impl Watched {
    /// Sends what was written in this turn, one right after the other.
    pub(super) fn send_all(&mut self) {
        let mut sendable = std::mem::take(&mut self.due.send);
        sendable.drain(..).for_each(|key| self.send(key));
        self.due.send = sendable;
    }

    /// Wakes the reader of the long message that has waited longest.
    pub(super) fn begin_long(&mut self) {
        if let Some(source) = self.due.long.pop_front().and_then(|key| self.sources.get_mut(key)) {
            source.begin_long();
        }
    }

    /// Sends as much of what was written to a source as there is room for. A ring sends it at the end of the turn,
    /// unless it is long: by then what else was received would have taken its place in the processor's cache.
    fn send(&mut self, key: SourceKey) {
        let Some(source) = self.sources.get_mut(key) else { return };
        while source.can_send() {
            match &mut self.driver {
                Interface::Ring(ring) if source.congested || !source.unsent_is_long() => {
                    return ring.send(key, source);
                }
                _ => {}
            }
            match send(source, &mut self.joined) {
                Ok(count) => source.unsent.advance(count),
                Err(Errno::AGAIN) => match self.driver {
                    Interface::Ring(_) => source.congested = true,
                    Interface::Epoll(_) => source.output.ready = false,
                },
                Err(Errno::INTR) => {}
                Err(error) => source.break_off(error),
            }
        }
        if source.is_sent() {
            source.output.wake();
        }
    }

    /// Waits until what was written is sent.
    fn poll_sent(&mut self, key: SourceKey, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let source = &mut self.sources[key];
        if let Some(error) = source.broken {
            return Poll::Ready(Err(error.into()));
        }
        if source.is_sent() {
            return Poll::Ready(Ok(()));
        }
        source.output.wait(cx.waker());
        Poll::Pending
    }

    fn poll_io<T>(
        &mut self,
        key: SourceKey,
        way: Way,
        cx: &mut Context<'_>,
        mut operation: impl FnMut(&Source) -> rustix::io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let source = &mut self.sources[key];
        while source.side(way).ready {
            match operation(source) {
                Err(Errno::AGAIN) => source.side(way).ready = false,
                Err(Errno::INTR) => {}
                result => return Poll::Ready(result.map_err(io::Error::from)),
            }
        }
        source.side(way).wait(cx.waker());
        if let Interface::Ring(ring) = &mut self.driver {
            ring.tell(key, source, way);
        }
        Poll::Pending
    }

    /// Takes what the ring has received, and has it receive more; or, where messages are long, receives directly.
    fn poll_ring(
        &mut self,
        core: &Core,
        key: SourceKey,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let Interface::Ring(ring) = &mut self.driver else { return Poll::Pending };
        let source = &mut self.sources[key];
        if let Some(count) = source.received.take(buffer, &core.pages) {
            return Poll::Ready(Ok(count));
        }
        if let Some(end) = source.end {
            return Poll::Ready(end.result());
        }
        match (source.direct > 0, source.receiving) {
            (true, Receiving::No) => return self.poll_direct(core, key, cx, buffer),
            (true, Receiving::Armed) => ring.stop_receiving(key, source),
            (true, Receiving::Stopping) => {}
            (false, _) => ring.receive(key, source),
        }
        source.input.wait(cx.waker());
        Poll::Pending
    }

    /// Receives into the buffer itself; one with no room gets some once there is reason to.
    fn poll_direct(
        &mut self,
        core: &Core,
        key: SourceKey,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let begins = buffer.is_empty();
        self.sources[key].between = begins;
        let mut room = 0;
        let received = ready!(self.poll_io(key, Way::In, cx, |source| {
            if buffer.capacity() == buffer.len() {
                match begins {
                    true => *buffer = source.room(&core.pages),
                    false => buffer.reserve(limits::READ_BUFFER_BYTES),
                }
            }
            room = buffer.capacity() - buffer.len();
            receive(source, buffer)
        }));
        if received.is_err() && begins {
            core.pages.give(std::mem::take(buffer));
        }
        let source = &mut self.sources[key];
        if let Ok(count) = received {
            self.direct_bytes += count;
            // What leaves room has emptied the socket: the driver tells when more has come.
            source.input.ready = count == room || source.hung_up;
            // A message that does not fill a page is a short one; after some of them the ring receives again.
            if begins && count < limits::READ_BUFFER_BYTES {
                source.direct = source.direct.saturating_sub(1);
                shorten(buffer, &core.pages);
            }
        }
        Poll::Ready(received)
    }
}

/// Puts what is short into a page, if the buffer has room for more: the connection may keep it for long.
fn shorten(buffer: &mut BytesMut, pages: &Pages) {
    if buffer.capacity() > limits::READ_BUFFER_BYTES {
        let mut page = pages.take();
        page.extend_from_slice(buffer);
        *buffer = page;
    }
}

fn receive(source: &Source, buffer: &mut BytesMut) -> rustix::io::Result<usize> {
    let length = buffer.len();
    let spare = buffer.spare_capacity_mut();
    let ((filled, _), _) = rustix::net::recv(source.fd(), spare, RecvFlags::DONTWAIT)?;
    let count = filled.len();
    // SAFETY: `count` bytes behind the first `length` were just filled in.
    unsafe { buffer.set_len(length + count) };
    Ok(count)
}

/// One system call's worth of what was written. The parts of a short list are joined first: see [`super::sends`].
fn send(source: &Source, joined: &mut Vec<u8>) -> rustix::io::Result<usize> {
    let (fd, list) = (source.fd(), &source.unsent);
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    if let [only] = list.rest() {
        return rustix::net::send(fd, only, flags);
    }
    if list.is_short() {
        joined.clear();
        list.rest().iter().for_each(|part| joined.extend_from_slice(part));
        return rustix::net::send(fd, joined, flags);
    }
    let parts: SmallVec<[IoSlice<'_>; 8]> =
        list.rest().iter().take(limits::IOVECS_MAX).map(|part| IoSlice::new(part)).collect();
    rustix::net::sendmsg(fd, &parts, &mut SendAncillaryBuffer::default(), flags)
}
