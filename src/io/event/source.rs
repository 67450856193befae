//! What a core waits for: descriptors with what is known of each, and who is to be woken.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    task::Waker,
};

use bytes::BytesMut;
use rustix::io::Errno;
use slotmap::DefaultKey;

use super::sends::SendKey;
use crate::{
    base::limits,
    io::{buffer::WriteList, pages::Pages},
};

/// Names a source; never used again for another one.
pub type SourceKey = DefaultKey;

/// The sources for which something is to be done.
#[derive(Default)]
pub struct Due {
    /// To be sent: they were written to in this turn, or have room again.
    pub send: Vec<SourceKey>,
    /// A long message has begun to come, in this order, each of them once at most: their readers are to be woken.
    pub long: VecDeque<SourceKey>,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Towards us.
    In,
    /// Away from us.
    Out,
}

/// How a stream received all that it will.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// The peer sends no more.
    Closed,
    /// The connection broke.
    Broken(Errno),
}

impl End {
    /// What a read says of it.
    pub fn result(self) -> io::Result<usize> {
        match self {
            End::Closed => Ok(0),
            End::Broken(error) => Err(error.into()),
        }
    }
}

/// The operation of a ring that receives for a source, if it has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Receiving {
    /// None.
    #[default]
    No,
    /// Until further notice, whatever comes.
    Armed,
    /// Told to stop, and not stopped yet: more may come.
    Stopping,
}

/// One way of a source.
pub struct Side {
    /// Whether an operation may be tried: nothing says that it would have to wait.
    pub ready: bool,
    /// Whether the driver has been asked to tell of the next change, if it wants to be.
    pub asked: bool,
    waiting: Option<Waker>,
}

impl Side {
    fn new(ready: bool) -> Side {
        Side { ready, asked: false, waiting: None }
    }

    /// Keeps the waker of who waits.
    pub fn wait(&mut self, waker: &Waker) {
        match &mut self.waiting {
            Some(held) => held.clone_from(waker),
            None => self.waiting = Some(waker.clone()),
        }
    }

    /// Whether anybody waits.
    pub fn is_awaited(&self) -> bool {
        self.waiting.is_some()
    }

    /// Wakes who waits.
    pub fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Something has changed: whoever waits is to try again.
    pub fn changed(&mut self) {
        self.ready = true;
        self.wake();
    }
}

/// One descriptor.
pub struct Source {
    fd: OwnedFd,
    /// Towards us.
    pub input: Side,
    /// Away from us.
    pub output: Side,
    /// What was written and is sent at the end of the turn, or when there is room for it.
    pub unsent: WriteList,
    /// The ring's operation that sends from it, if there is one.
    pub sending: Option<SendKey>,
    /// Whether the last send ended for want of room: the next one waits for some.
    pub congested: bool,
    /// Why it could not be sent.
    pub broken: Option<Errno>,
    /// What a ring has received and nobody has taken.
    pub received: Received,
    /// The ring's operation that receives.
    pub receiving: Receiving,
    /// Whether, and for how many more short messages, reads go straight into the reader's buffer: messages are long.
    pub direct: u8,
    /// Whether the last direct read was for the beginning of a message, and not for more of one.
    pub between: bool,
    /// Whether it is among the long ones that are due.
    due: bool,
    /// How it ended, once a ring has seen that.
    pub end: Option<End>,
    /// Whether epoll has told that the peer hung up: it will not tell so again.
    pub hung_up: bool,
}

impl Source {
    /// Of this descriptor, which the driver need not have seen. `connected`: bytes may be sent at once.
    pub fn new(fd: OwnedFd, connected: bool) -> Source {
        Source {
            fd,
            input: Side::new(true),
            output: Side::new(connected),
            unsent: WriteList::new(),
            sending: None,
            congested: false,
            broken: None,
            received: Received::default(),
            receiving: Receiving::No,
            direct: 0,
            between: false,
            due: false,
            end: None,
            hung_up: false,
        }
    }

    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// One of its ways.
    pub fn side(&mut self, way: Way) -> &mut Side {
        match way {
            Way::In => &mut self.input,
            Way::Out => &mut self.output,
        }
    }

    /// Whether what was written can be sent, and was not.
    pub fn can_send(&self) -> bool {
        self.output.ready && self.sending.is_none() && !self.unsent.is_empty()
    }

    /// Whether nothing of what was written is left to send, and no send is under way.
    pub fn is_sent(&self) -> bool {
        self.unsent.is_empty() && self.sending.is_none()
    }

    /// Whether what was written is too long to lie here until the end of the turn.
    pub fn unsent_is_long(&self) -> bool {
        self.unsent.len() > limits::UNSENT_BYTES_MAX
    }

    /// The messages are long from now on.
    pub fn expect_long(&mut self) {
        self.direct = limits::DIRECT_MESSAGES;
    }

    /// Something has come, and whoever reads is woken; unless a long message begins, for which it is due from now on.
    pub fn readable(&mut self, key: SourceKey, due: &mut Due) {
        if self.direct == 0 || !self.between {
            return self.input.changed();
        }
        self.input.ready = true;
        if !std::mem::replace(&mut self.due, true) {
            due.long.push_back(key);
        }
    }

    /// It was due for a long message, and has its turn now.
    pub fn begin_long(&mut self) {
        self.due = false;
        self.input.wake();
    }

    /// A buffer for what comes next.
    pub fn room(&self, pages: &Pages) -> BytesMut {
        if self.direct > 0 { pages.take_long() } else { pages.take() }
    }

    /// What was written cannot be sent, now or later.
    pub fn break_off(&mut self, error: Errno) {
        self.broken = Some(error);
        self.unsent.clear();
    }
}

/// Pages that were received and not taken, in order.
#[derive(Default)]
pub struct Received {
    pages: VecDeque<BytesMut>,
}

impl Received {
    /// Puts a page behind the others. What is in a short one goes into the one before, if it has room: many short
    /// messages are not to hold a page each.
    pub fn push(&mut self, page: BytesMut, pool: &Pages) {
        match self.pages.back_mut() {
            Some(last) if last.capacity() - last.len() >= page.len() => {
                last.extend_from_slice(&page);
                pool.give(page);
            }
            _ => self.pages.push_back(page),
        }
    }

    /// Moves the first page into the reader's buffer; how much it held.
    pub fn take(&mut self, buffer: &mut BytesMut, pool: &Pages) -> Option<usize> {
        let page = self.pages.pop_front()?;
        let count = page.len();
        if buffer.is_empty() {
            pool.give(std::mem::replace(buffer, page));
        } else {
            buffer.extend_from_slice(&page);
            pool.give(page);
        }
        Some(count)
    }

    /// Whether so much lies here unread that no more is to be received: its reader is slow.
    pub fn is_full(&self) -> bool {
        self.pages.len() >= limits::PAGES_AHEAD_MAX
    }

    /// Gives all pages back.
    pub fn give_back(&mut self, pool: &Pages) {
        self.pages.drain(..).for_each(|page| pool.give(page));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(bytes: usize) -> BytesMut {
        let mut page = BytesMut::with_capacity(limits::READ_BUFFER_BYTES);
        page.resize(bytes, b'x');
        page
    }

    #[test]
    fn short_messages_share_a_page_and_long_ones_fill_the_bound() {
        let (mut received, pool) = (Received::default(), Pages::new());
        (0..50).for_each(|_| received.push(page(200), &pool));
        assert_eq!(received.pages.len(), 1);
        assert!(!received.is_full());
        while !received.is_full() {
            received.push(page(limits::READ_BUFFER_BYTES), &pool);
        }
        assert_eq!(received.pages.len(), limits::PAGES_AHEAD_MAX);
    }

    #[test]
    fn what_is_taken_follows_what_the_reader_has() {
        let (mut received, pool) = (Received::default(), Pages::new());
        received.push(page(10_000), &pool);
        received.push(page(9_000), &pool);
        let mut buffer = BytesMut::new();
        assert_eq!(received.take(&mut buffer, &pool), Some(10_000));
        assert_eq!(received.take(&mut buffer, &pool), Some(9_000));
        assert_eq!((buffer.len(), received.take(&mut buffer, &pool)), (19_000, None));
    }
}
