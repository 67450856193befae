//! What a ring is sending. The kernel reads from here until it has sent, whatever becomes of the source; so the bytes,
//! and what says where they lie, are in one value that does not move.
//!
//! A short send is tried at once: it goes out while it is submitted, and only what fails of it is told. So most sends
//! have no completion, and a core that has sent goes to sleep in the same call.
#![expect(
    unsafe_code,
    reason = "a submission entry points to bytes; the invariant is stated at its making"
)]
#![expect(clippy::disallowed_types, reason = "this is the one home of libc::iovec")]

use bytes::Bytes;
use io_uring::{opcode, squeue, types};
use libc::{iovec, msghdr};
use slotmap::{Key, SlotMap};

use super::source::SourceKey;
use crate::{base::limits, io::buffer::WriteList};

slotmap::new_key_type! {
    /// Names a send; never used again for another one.
    pub struct SendKey;
}

/// The sends that are under way.
#[derive(Default)]
pub struct Sends {
    /// Boxed: the kernel is told where its header lies.
    under_way: SlotMap<SendKey, (SourceKey, Box<Outgoing>)>,
    /// Those of them that are tried at once.
    at_once: Vec<SendKey>,
    /// Used ones, for their allocations.
    #[expect(clippy::vec_box, reason = "they are moved in and out of the table as they are")]
    free: Vec<Box<Outgoing>>,
}

/// One send: the parts of a list, or a copy of them if they are short. The kernel's work on a vector costs more than
/// the copy, and whatever the parts were slices of is free at once.
#[derive(Default)]
struct Outgoing {
    bytes: usize,
    /// Not in the list any more.
    joined: Vec<u8>,
    /// Still in the list.
    parts: Vec<Bytes>,
    /// Points into `parts`.
    iovecs: Vec<iovec>,
    /// Points at `iovecs`.
    header: Option<msghdr>,
}

/// When a send has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// With its submission, whether there was room or not. It has a completion only if not all was sent.
    AtOnce,
    /// When all is sent or the connection breaks; it has a completion.
    UntilSent,
}

impl Sends {
    /// Takes a short list, or holds the front of a long one, for a send of that source. The entry is to be submitted.
    pub fn begin(
        &mut self,
        source: SourceKey,
        fd: types::Fd,
        list: &mut WriteList,
        effort: Effort,
    ) -> (SendKey, squeue::Entry) {
        let mut outgoing = self.free.pop().unwrap_or_default();
        outgoing.hold(list);
        let entry = outgoing.entry(fd, effort);
        let key = self.under_way.insert((source, outgoing));
        if effort == Effort::AtOnce {
            self.at_once.push(key);
        }
        (key, entry)
    }

    /// The sources for which something is tried at once.
    pub fn at_once(&self) -> impl Iterator<Item = SourceKey> {
        self.at_once.iter().filter_map(|key| Some(self.under_way.get(*key)?.0))
    }

    /// One that was tried at once: which source it was for, and how much was sent, which is all of it. To be called
    /// when the kernel has taken all entries, and all that it told has been passed to [`Sends::ended`].
    pub fn next_sent(&mut self) -> Option<Ended> {
        while let Some(key) = self.at_once.pop() {
            if let Some((_, outgoing)) = self.under_way.get(key) {
                let bytes = outgoing.bytes;
                return Some(self.ended(key, bytes));
            }
        }
        None
    }

    /// Never frees what the kernel may still read from.
    pub fn leak(mut self) {
        for (_, (_, outgoing)) in self.under_way.drain() {
            Box::leak(outgoing);
        }
    }

    /// The kernel has done with it, having sent so many bytes.
    pub fn ended(&mut self, key: SendKey, bytes: usize) -> Ended {
        let Some((source, mut outgoing)) = self.under_way.remove(key) else {
            return Ended { source: SourceKey::null(), from_list: 0, rest: Bytes::new() };
        };
        let ended = match outgoing.joined.get(bytes..) {
            Some(rest) if !outgoing.joined.is_empty() => {
                Ended { source, from_list: 0, rest: Bytes::copy_from_slice(rest) }
            }
            _ => Ended { source, from_list: bytes, rest: Bytes::new() },
        };
        if self.free.len() < limits::SENDS_GATHERED_MAX {
            outgoing.let_go();
            self.free.push(outgoing);
        }
        ended
    }
}

/// What has become of a send.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which source it was for.
    pub source: SourceKey,
    /// How many bytes of the list are sent, if that still has them.
    pub from_list: usize,
    /// What of a list that was taken is not sent.
    pub rest: Bytes,
}

impl Outgoing {
    fn hold(&mut self, list: &mut WriteList) {
        if list.is_short() {
            list.rest().iter().for_each(|part| self.joined.extend_from_slice(part));
            list.clear();
            self.bytes = self.joined.len();
        } else {
            self.parts.extend(list.rest().iter().take(limits::IOVECS_MAX).cloned());
            self.bytes = self.parts.iter().map(Bytes::len).sum();
        }
    }

    fn let_go(&mut self) {
        self.joined.clear();
        self.parts.clear();
        self.iovecs.clear();
        self.header = None;
    }

    /// The operation that sends what is held.
    fn entry(&mut self, fd: types::Fd, effort: Effort) -> squeue::Entry {
        // With MSG_WAITALL what is sent in part has failed, and is told.
        const ALL: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let (flags, told) = match effort {
            Effort::AtOnce => (ALL | libc::MSG_DONTWAIT, squeue::Flags::SKIP_SUCCESS),
            Effort::UntilSent => (ALL, squeue::Flags::empty()),
        };
        let only = match &self.parts[..] {
            [] => &self.joined[..],
            [only] => only,
            _ => {
                let entry = opcode::SendMsg::new(fd, self.header()).flags(flags as u32);
                return entry.build().flags(told);
            }
        };
        let length = u32::try_from(only.len()).unwrap_or(u32::MAX);
        opcode::Send::new(fd, only.as_ptr(), length).flags(flags).build().flags(told)
    }

    fn header(&mut self) -> *const msghdr {
        self.iovecs.extend(
            self.parts.iter().map(|part| iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            }),
        );
        // SAFETY: all of its fields are numbers and pointers, for which zero is a value.
        let header = self.header.insert(unsafe { std::mem::zeroed() });
        header.msg_iov = self.iovecs.as_mut_ptr();
        header.msg_iovlen = self.iovecs.len() as _;
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(parts: &[&'static str]) -> WriteList {
        let mut list = WriteList::new();
        list.extend(parts.iter().map(|part| Bytes::from_static(part.as_bytes())));
        list
    }

    fn begin(sends: &mut Sends, list: &mut WriteList) -> SendKey {
        sends.begin(SourceKey::null(), types::Fd(0), list, Effort::AtOnce).0
    }

    #[test]
    fn a_short_list_is_taken_and_its_rest_comes_back() {
        let mut sends = Sends::default();
        for (sent, rest) in [(0, "headbody"), (3, "dbody"), (8, "")] {
            let mut list = list(&["he", "ad", "body"]);
            let key = begin(&mut sends, &mut list);
            assert_eq!(sends.under_way[key].1.joined, b"headbody");
            assert!(list.is_empty());
            let ended = sends.ended(key, sent);
            assert_eq!((ended.from_list, &ended.rest[..]), (0, rest.as_bytes()));
        }
    }

    #[test]
    fn long_parts_are_pointed_at_and_stay_where_they_are_when_the_send_is_kept() {
        let long: &'static str = "x".repeat(limits::JOINED_WRITE_BYTES).leak();
        let mut sends = Sends::default();
        let mut list = list(&["head", long]);
        let key = begin(&mut sends, &mut list);
        let (_, outgoing) = &sends.under_way[key];
        let header = outgoing.header.as_ref().unwrap();
        assert_eq!(header.msg_iov.cast_const(), outgoing.iovecs.as_ptr());
        assert_eq!(outgoing.iovecs[1].iov_base as *const u8, long.as_ptr());
        let lengths: Vec<usize> = outgoing.iovecs.iter().map(|entry| entry.iov_len).collect();
        assert_eq!(lengths, [4, long.len()]);
        assert_eq!(list.len(), 4 + long.len());
        assert_eq!(sends.ended(key, 5).from_list, 5);
    }

    #[test]
    fn an_ended_send_lends_its_allocations_to_the_next() {
        let mut sends = Sends::default();
        let first = begin(&mut sends, &mut list(&["a", "b"]));
        sends.ended(first, 2);
        let second = begin(&mut sends, &mut list(&["c", "d"]));
        assert_eq!(sends.under_way[second].1.joined, b"cd");
        assert!(sends.free.is_empty());
    }

    #[test]
    fn what_was_tried_at_once_is_sent_unless_something_else_was_told() {
        let mut sends = Sends::default();
        let told = begin(&mut sends, &mut list(&["abc"]));
        begin(&mut sends, &mut list(&["de", "f", "g"]));
        sends.ended(told, 0);
        assert_eq!(sends.at_once().count(), 1);
        assert!(sends.next_sent().is_some_and(|ended| ended.rest.is_empty()));
        assert_eq!((sends.next_sent(), sends.under_way.len()), (None, 0));
    }
}
