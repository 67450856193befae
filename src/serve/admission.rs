//! What a core takes on: exchanges in flight and the memory that they hold, within the ceilings of the process. A new
//! exchange, or its body, is refused at a ceiling; what is under way is counted and never ended for it.

use std::{cell::Cell, cmp::Ordering, rc::Rc, sync::Arc};

use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        limits,
    },
    io::{
        hub::Hub,
        ledger::{Ledger, Purse},
    },
    journal::metrics::Counters,
};

/// One core's part of the ceilings.
pub struct Admission {
    in_flight: Purse,
    memory: Purse,
    /// The ceiling of memory, for messages.
    ceiling: Arc<Ledger>,
    counters: Arc<Counters>,
    /// What the log's queues held when they were last looked at, in bytes.
    log_bytes: Cell<u64>,
}

impl Admission {
    /// Nothing taken on yet.
    pub fn new(hub: &Hub, counters: Arc<Counters>) -> Admission {
        Admission {
            in_flight: Purse::new(Arc::clone(&hub.in_flight)),
            memory: Purse::new(Arc::clone(&hub.memory)),
            ceiling: Arc::clone(&hub.memory),
            counters,
            log_bytes: Cell::new(0),
        }
    }

    /// The ceilings may have changed: what was taken of them and is not in use goes back.
    pub fn settle(&self) {
        self.in_flight.settle();
        self.memory.settle();
    }

    /// Exchanges under way.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.used()
    }

    /// Counts what the log's queues hold, up to half of this core's part: a log that cannot be written must not stop
    /// all traffic.
    pub fn note_log(&self, bytes: u64) {
        let bytes = bytes.min(self.ceiling.share() / 2);
        let before = self.log_bytes.replace(bytes);
        if bytes > before {
            self.memory.take_anyway(bytes - before);
        } else if bytes < before {
            self.memory.give(before - bytes);
        }
        self.counters.log_bytes.set(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// Tells the metrics.
    fn show(&self) {
        let bytes = self.memory.used().saturating_sub(self.log_bytes.get());
        self.counters.in_flight.set(usize::try_from(self.in_flight()).unwrap_or(usize::MAX));
        self.counters.exchange_bytes.set(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
}

/// What the exchange of one connection holds. Whatever way it ends, dropping this gives it back.
pub struct Hold {
    admission: Rc<Admission>,
    admitted: bool,
    /// Bytes of its body, or those that were announced.
    body: u64,
    /// Bytes of a request that was written anew for a target.
    rendered: u64,
    /// Bytes of an answer that is held back.
    answer: u64,
    stream: bool,
}

impl Hold {
    /// Holds nothing.
    pub fn new(admission: Rc<Admission>) -> Hold {
        Hold { admission, admitted: false, body: 0, rendered: 0, answer: 0, stream: false }
    }

    /// Begins an exchange, if there is room for one.
    pub fn begin(&mut self) -> Result<(), Fault> {
        let Admission { in_flight, memory, counters, .. } = &*self.admission;
        if !in_flight.take(1) {
            counters.refused_in_flight.add(1);
            let message =
                "the gateway has as many requests in flight as limits.in_flight allows; try again";
            return Err(overloaded(Stage::Head, message));
        }
        if !memory.take(limits::EXCHANGE_BYTES) {
            in_flight.give(1);
            counters.refused_memory.add(1);
            let message = "the gateway's memory for requests (limits.memory) is in use; try again";
            return Err(overloaded(Stage::Head, message));
        }
        self.admitted = true;
        self.admission.show();
        Ok(())
    }

    /// Makes sure of room for a body of so many bytes, whether they are here or announced. One that fits into a read
    /// buffer has it.
    pub fn body(&mut self, bytes: u64) -> Result<(), Fault> {
        if bytes <= self.body || bytes <= limits::READ_BUFFER_BYTES as u64 {
            return Ok(());
        }
        let Admission { memory, counters, ceiling, .. } = &*self.admission;
        if !memory.take(bytes - self.body) {
            counters.refused_memory.add(1);
            let total = ceiling.total();
            let message = format!(
                "there is no room at the moment for a request body of {bytes} bytes: requests in flight use the \
                 gateway's memory (limits.memory, {total} bytes); try again"
            );
            return Err(overloaded(Stage::Body, message));
        }
        self.body = bytes;
        self.admission.show();
        Ok(())
    }

    /// Counts a request that was written anew for a target.
    pub fn rendered(&mut self, bytes: usize) {
        self.admission.change(&mut self.rendered, bytes);
    }

    /// The request is freed, in all its forms: its answer is under way, perhaps for long.
    pub fn request_freed(&mut self) {
        let Hold { admission, body, rendered, .. } = self;
        admission.change(body, 0);
        admission.change(rendered, 0);
    }

    /// Counts an answer that is held back: it has been begun, so that it is never refused.
    pub fn answer(&mut self, bytes: usize) {
        // Small ones, before the commit, are in the exchange's own share.
        let bytes = if bytes <= limits::READ_BUFFER_BYTES { 0 } else { bytes };
        self.admission.change(&mut self.answer, bytes);
    }

    /// A stream of events is under way to the client.
    pub fn stream(&mut self) {
        if !self.stream {
            self.stream = true;
            self.admission.counters.streams_open.raise();
        }
    }

    /// The exchange has ended.
    pub fn end(&mut self) {
        if self.stream {
            self.stream = false;
            self.admission.counters.streams_open.lower();
        }
        if self.admitted {
            self.admitted = false;
            let held = self.body + self.rendered + self.answer;
            (self.body, self.rendered, self.answer) = (0, 0, 0);
            self.admission.in_flight.give(1);
            self.admission.memory.give(limits::EXCHANGE_BYTES + held);
            self.admission.show();
        }
    }
}

/// What a try beside an exchange holds: a hedge, a mirror. Dropping it gives it back.
pub struct Aside {
    admission: Rc<Admission>,
    own: u64,
    /// Bytes of an answer that is held back.
    answer: u64,
}

impl Aside {
    /// Holds nothing of its own: the exchange does.
    pub fn of_exchange(admission: &Rc<Admission>) -> Aside {
        Aside { admission: Rc::clone(admission), own: 0, answer: 0 }
    }

    /// Takes room for one more try with a request of so many bytes, if there is some.
    pub fn take(admission: &Rc<Admission>, bytes: usize) -> Option<Aside> {
        let own = limits::EXCHANGE_BYTES + bytes as u64;
        let taken = admission.memory.take(own);
        taken.then(|| {
            admission.show();
            Aside { admission: Rc::clone(admission), own, answer: 0 }
        })
    }

    /// Counts an answer that is held back.
    pub fn answer(&mut self, bytes: usize) {
        let bytes = if bytes <= limits::READ_BUFFER_BYTES { 0 } else { bytes };
        self.admission.change(&mut self.answer, bytes);
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if self.own + self.answer > 0 {
            self.admission.memory.give(self.own + self.answer);
            self.admission.show();
        }
    }
}

impl Admission {
    fn change(&self, held: &mut u64, bytes: usize) {
        let bytes = bytes as u64;
        match bytes.cmp(held) {
            Ordering::Equal => return,
            Ordering::Greater => self.memory.take_anyway(bytes - *held),
            Ordering::Less => self.memory.give(*held - bytes),
        }
        *held = bytes;
        self.show();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.end();
    }
}

fn overloaded(stage: Stage, message: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(stage, Source::Gateway, Kind::Overloaded, message)
}
