//! The epoll driver, for where io_uring is forbidden or too old. A source is registered once, for changes of either way
//! (edge-triggered); no system call but those that move bytes follows.

use std::{io, mem::MaybeUninit, os::fd::OwnedFd, time::Duration};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    io::Errno,
};
use slotmap::{Key, KeyData, SlotMap};

use super::source::{Due, Source, SourceKey};
use crate::base::limits;

/// Events that are taken in one turn; more wait for the next.
const EVENTS: usize = 256;

/// One core's epoll instance.
pub struct Epoll {
    fd: OwnedFd,
    events: Box<[MaybeUninit<epoll::Event>]>,
}

impl Epoll {
    /// A new one.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn new() -> io::Result<Epoll> {
        let fd = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Epoll { fd, events: Box::new_uninit_slice(EVENTS) })
    }

    /// Tells of changes of the source from now on, until its descriptor is closed.
    ///
    /// # Errors
    /// If the descriptor cannot be waited for, or the system has no room.
    pub fn add(&self, key: SourceKey, source: &Source) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.fd, source.fd(), EventData::new_u64(key.data().as_ffi()), flags)?)
    }

    /// Waits for a change, but no longer than `timeout`, and passes on all that came.
    pub fn wait(
        &mut self,
        timeout: Option<Duration>,
        sources: &mut SlotMap<SourceKey, Source>,
        due: &mut Due,
    ) {
        let timeout = timeout.map(|wait| {
            let wait = wait.min(limits::EPOLL_WAIT_MAX);
            Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() }
        });
        let events = match epoll::wait(&self.fd, &mut *self.events, timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return,
            // Any other error is a bug of ours, and would come again at once: the sources are tried all over.
            Err(_) => return sources.values_mut().for_each(both_changed),
        };
        for event in events {
            let key = KeyData::from_ffi(event.data.u64()).into();
            let Some(source) = sources.get_mut(key) else { continue };
            let flags = event.flags;
            let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            source.hung_up |= failed || flags.contains(EventFlags::RDHUP);
            if source.hung_up || flags.contains(EventFlags::IN) {
                source.readable(key, due);
            }
            if failed || flags.contains(EventFlags::OUT) {
                source.output.changed();
                if source.can_send() {
                    due.send.push(key);
                }
            }
        }
    }
}

fn both_changed(source: &mut Source) {
    source.input.changed();
    source.output.changed();
}
