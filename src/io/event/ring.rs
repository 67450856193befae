//! The io_uring driver. A stream is received by one operation that goes on until it is told to stop (multishot), into
//! pages that the kernel picks from: no operation a read, no buffer for a connection that waits.
//!
//! An own driver, since the runtime that was used before (monoio 0.2.4) knows neither: with it a request of 1 KB cost
//! 5 % more CPU, and each connection held a boxed read and, waiting, its buffer.
#![expect(
    unsafe_code,
    reason = "submission entries are unchecked; what they point to is held where they are made"
)]

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    time::Duration,
};

use bytes::BytesMut;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use rustix::io::Errno;
use slotmap::{Key, KeyData, SlotMap};

use super::{
    buffers::{self, Buffers},
    sends::{Effort, Ended, Sends},
    source::{Due, End, Receiving, Source, SourceKey, Way},
};
use crate::{
    base::limits,
    io::{buffer::WriteList, pages::Pages},
};

/// One core's ring.
pub struct Ring {
    ring: IoUring,
    buffers: Buffers,
    sends: Sends,
    pages: Pages,
    /// Sources whose reader is slow, found in this turn.
    full: Vec<SourceKey>,
    /// Sources for which no page was left, found in this turn.
    starved: Vec<SourceKey>,
}

/// What an operation is for; with a key it is the number that its completion carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Receive,
    PollIn,
    PollOut,
    Send,
    Cancel,
}

/// Where in that number the purpose is: above any place in a table.
const PURPOSE_SHIFT: u32 = 28;
const PURPOSE_MASK: u64 = 0b111 << PURPOSE_SHIFT;

const _: () = assert!(limits::SOURCES_MAX <= 1 << PURPOSE_SHIFT);

impl Purpose {
    fn number(self, key: impl Key) -> u64 {
        key.data().as_ffi() | (self as u64) << PURPOSE_SHIFT
    }

    fn of(number: u64) -> (Purpose, KeyData) {
        let purpose = match (number & PURPOSE_MASK) >> PURPOSE_SHIFT {
            0 => Purpose::Receive,
            1 => Purpose::PollIn,
            2 => Purpose::PollOut,
            3 => Purpose::Send,
            _ => Purpose::Cancel,
        };
        (purpose, KeyData::from_ffi(number & !PURPOSE_MASK))
    }
}

impl Ring {
    /// A ring of the thread that calls, and that alone may use it.
    ///
    /// # Errors
    /// If the kernel or the container has none, or one older than Linux 6.1.
    pub fn new(pages: Pages) -> io::Result<Ring> {
        let ring = IoUring::builder()
            // Completions wait for our own turn instead of interrupting it: 6 % less CPU a request.
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_cqsize(limits::RING_COMPLETIONS)
            .build(limits::RING_ENTRIES)?;
        let buffers = Buffers::register(&ring, pages.clone())?;
        Ok(Ring {
            ring,
            buffers,
            sends: Sends::default(),
            pages,
            full: Vec::new(),
            starved: Vec::new(),
        })
    }

    /// Receives into pages from now on, whatever comes.
    pub fn receive(&mut self, key: SourceKey, source: &mut Source) {
        if source.receiving == Receiving::No {
            source.receiving = Receiving::Armed;
            let entry = opcode::RecvMulti::new(fd(source), buffers::GROUP).build();
            self.submit(entry.user_data(Purpose::Receive.number(key)));
        }
    }

    /// Receives no more, once what is under way has come. Told again while something comes: an operation that is at
    /// work is not found.
    pub fn stop_receiving(&mut self, key: SourceKey, source: &mut Source) {
        if source.receiving != Receiving::No {
            source.receiving = Receiving::Stopping;
            self.cancel(Purpose::Receive, key);
        }
    }

    /// Sends the front of what was written to the source.
    pub fn send(&mut self, key: SourceKey, source: &mut Source) {
        let waits = source.unsent_is_long() || source.congested;
        let effort = if waits { Effort::UntilSent } else { Effort::AtOnce };
        let mut unsent = std::mem::take(&mut source.unsent);
        self.begin_send(key, source, &mut unsent, effort);
        source.unsent = unsent;
    }

    /// Takes a short list and sends it.
    pub fn send_short(&mut self, key: SourceKey, source: &mut Source, list: &mut WriteList) {
        self.begin_send(key, source, list, Effort::AtOnce);
    }

    fn begin_send(
        &mut self,
        key: SourceKey,
        source: &mut Source,
        list: &mut WriteList,
        effort: Effort,
    ) {
        let (number, entry) = self.sends.begin(key, fd(source), list, effort);
        source.sending = Some(number);
        self.submit(entry.user_data(Purpose::Send.number(number)));
    }

    /// Tells when that way of the source is ready, once.
    pub fn tell(&mut self, key: SourceKey, source: &mut Source, way: Way) {
        let fd = fd(source);
        let side = source.side(way);
        if side.asked {
            return;
        }
        side.asked = true;
        let (events, purpose) = match way {
            Way::In => (libc::POLLIN, Purpose::PollIn),
            Way::Out => (libc::POLLOUT, Purpose::PollOut),
        };
        let entry = opcode::PollAdd::new(fd, events as u32).build();
        self.submit(entry.user_data(purpose.number(key)));
    }

    /// The source has left the table and its descriptor is about to be closed: nothing is to come for it any more.
    /// What the kernel still holds of its socket it lets go of with the operations.
    pub fn forget(&mut self, key: SourceKey, source: &Source) {
        // What was written is sent as far as there is room; nobody waits for the rest.
        self.flush();
        if let Some(number) = source.sending {
            self.cancel(Purpose::Send, number);
        }
        if source.receiving == Receiving::Armed {
            self.cancel(Purpose::Receive, key);
        }
        if source.input.asked {
            self.cancel(Purpose::PollIn, key);
        }
        if source.output.asked {
            self.cancel(Purpose::PollOut, key);
        }
        // What was gathered names the descriptor, whose number another connection may be given next.
        self.flush();
    }

    /// Submits what was gathered, waits for a completion, but no longer than `timeout`, and passes on all that came.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        sources: &mut SlotMap<SourceKey, Source>,
        due: &mut Due,
    ) {
        let timespec = timeout
            .map(|wait| types::Timespec::new().sec(wait.as_secs()).nsec(wait.subsec_nanos()));
        let mut args = types::SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        // What is tried at once has no completion that would end the wait of who waits for it.
        let is_awaited =
            |key| sources.get_mut(key).is_some_and(|source| source.output.is_awaited());
        let wanted = usize::from(!self.sends.at_once().any(is_awaited));
        // Whatever ended the wait, a timeout or a signal: what came meanwhile is there.
        let _ = self.ring.submitter().submit_with_args(wanted, &args);
        let mut taken = self.pass_on(sources, due);
        // The kernel completes some twenty operations a call. More in one turn are cheaper: each step is done for many
        // in a row, and the peers are woken less often.
        while taken < limits::COMPLETIONS_A_TURN && self.ring.submission().taskrun() {
            let _ = self.ring.submit();
            match self.pass_on(sources, due) {
                0 => break,
                more => taken += more,
            }
        }
        self.settle(sources, due);
        while let Some(key) = self.full.pop() {
            if let Some(source) = sources.get_mut(key) {
                self.stop_receiving(key, source);
            }
        }
        // Pages are there again. Nobody may be waiting: a pooled connection is asked only whether anything has come.
        while let Some(key) = self.starved.pop() {
            if let Some(source) = sources.get_mut(key) {
                self.receive(key, source);
            }
        }
    }

    /// What was tried at once, and of which nothing else was told, is sent.
    fn settle(&mut self, sources: &mut SlotMap<SourceKey, Source>, due: &mut Due) {
        // A failure may be among what the queue of completions had no room for.
        while self.ring.submission().cq_overflow() && self.ring.submit().is_ok() {
            self.pass_on(sources, due);
        }
        let queue = self.ring.submission();
        if queue.cq_overflow() || !queue.is_empty() {
            return;
        }
        drop(queue);
        while let Some(ended) = self.sends.next_sent() {
            let key = ended.source;
            if sent(sources.get_mut(key), ended, None) {
                due.send.push(key);
            }
        }
    }

    /// Passes on what has come; how much it was.
    fn pass_on(&mut self, sources: &mut SlotMap<SourceKey, Source>, due: &mut Due) -> usize {
        let mut completions = self.ring.completion();
        completions.sync();
        let count = completions.len();
        for completion in completions {
            let (purpose, key) = Purpose::of(completion.user_data());
            match purpose {
                Purpose::Receive => {
                    let key = key.into();
                    let page = self.buffers.received(&completion);
                    match received(&self.pages, sources.get_mut(key), page, &completion) {
                        Next::Nothing => {}
                        Next::Stop => self.full.push(key),
                        Next::Again => self.starved.push(key),
                    }
                }
                Purpose::PollIn => readable(key.into(), sources, due),
                Purpose::PollOut => writable(key.into(), sources),
                Purpose::Send => {
                    let (bytes, failure) = outcome(completion.result());
                    let ended = self.sends.ended(key.into(), bytes);
                    let key = ended.source;
                    if sent(sources.get_mut(key), ended, failure) {
                        due.send.push(key);
                    }
                }
                Purpose::Cancel => {}
            }
        }
        self.buffers.publish();
        count
    }

    /// Gives the kernel what was gathered.
    pub fn flush(&mut self) {
        while !self.ring.submission().is_empty() && self.ring.submit().is_ok() {}
    }

    fn cancel(&mut self, purpose: Purpose, key: impl Key) {
        let entry = opcode::AsyncCancel::new(purpose.number(key)).build();
        self.submit(entry.user_data(Purpose::Cancel.number(SourceKey::null())));
    }

    /// Gathers an operation for the end of the turn. Full, the queue goes to the kernel at once.
    fn submit(&mut self, entry: squeue::Entry) {
        // SAFETY: the operations made here point to no memory but the bytes of a send, which `Sends` holds until its
        // completion has come; the pages that a receive picks from are held by `Buffers` for as long as the ring is.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            // The kernel takes entries whenever it is called, unless it is out of memory: then later.
            if self.ring.submit().is_err() {
                std::thread::yield_now();
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // A ring is closed behind our back: until then the kernel may read what it was told to send.
        std::mem::take(&mut self.sends).leak();
    }
}

fn fd(source: &Source) -> types::Fd {
    let fd: RawFd = source.fd().as_raw_fd();
    types::Fd(fd)
}

/// What is to be done after a receive.
enum Next {
    Nothing,
    /// So much lies there unread that no more is to come.
    Stop,
    /// It ended for want of a page.
    Again,
}

/// A receive has brought something, or has ended.
fn received(
    pages: &Pages,
    source: Option<&mut Source>,
    page: Option<BytesMut>,
    completion: &cqueue::Entry,
) -> Next {
    let Some(source) = source else {
        // The source is gone; what came for it is nobody's.
        page.into_iter().for_each(|page| pages.give(page));
        return Next::Nothing;
    };
    let was_wanted = source.receiving == Receiving::Armed;
    if !cqueue::more(completion.flags()) {
        source.receiving = Receiving::No;
    }
    match completion.result() {
        0 => source.end = Some(End::Closed),
        count @ 1.. => {
            // A page that is full is part of something long.
            if count as usize >= limits::READ_BUFFER_BYTES {
                source.expect_long();
            }
            page.into_iter().for_each(|page| source.received.push(page, pages));
        }
        error => match Errno::from_raw_os_error(-error) {
            Errno::NOBUFS if was_wanted => return Next::Again,
            // Told to stop: whoever reads begins anew.
            Errno::CANCELED | Errno::NOBUFS => {}
            errno => source.end = Some(End::Broken(errno)),
        },
    }
    source.input.wake();
    match source.received.is_full() || source.receiving == Receiving::Stopping {
        true => Next::Stop,
        false => Next::Nothing,
    }
}

/// What a completion says: how much, and why not more.
fn outcome(result: i32) -> (usize, Option<Errno>) {
    match usize::try_from(result) {
        Ok(bytes) => (bytes, None),
        Err(_) => (0, Some(Errno::from_raw_os_error(-result))),
    }
}

/// A send has ended. True: there is more to send.
fn sent(source: Option<&mut Source>, ended: Ended, failure: Option<Errno>) -> bool {
    let Some(source) = source else { return false };
    source.sending = None;
    source.unsent.advance(ended.from_list);
    source.unsent.push(ended.rest);
    match failure {
        None | Some(Errno::AGAIN | Errno::INTR) => {}
        Some(error) => source.break_off(error),
    }
    // What is left is sent once there is room.
    source.congested = !source.unsent.is_empty();
    if !source.congested {
        source.output.wake();
    }
    source.can_send()
}

fn readable(key: SourceKey, sources: &mut SlotMap<SourceKey, Source>, due: &mut Due) {
    if let Some(source) = sources.get_mut(key) {
        source.input.asked = false;
        source.readable(key, due);
    }
}

fn writable(key: SourceKey, sources: &mut SlotMap<SourceKey, Source>) {
    if let Some(source) = sources.get_mut(key) {
        source.output.asked = false;
        source.output.changed();
    }
}
