//! What a ring is sending. The kernel reads from here until it says that it has sent, whatever becomes of the source;
//! so the bytes, and what says where they lie, are in one value that does not move.
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
    /// Used ones, for their allocations.
    #[expect(clippy::vec_box, reason = "they are moved in and out of the table as they are")]
    free: Vec<Box<Outgoing>>,
}

/// One send: parts as they are, or joined if they are short. The kernel's work on a vector costs more than the copy.
#[derive(Default)]
struct Outgoing {
    joined: Vec<u8>,
    parts: Vec<Bytes>,
    /// Points into `parts`.
    iovecs: Vec<iovec>,
    /// Points at `iovecs`.
    header: Option<msghdr>,
}

impl Sends {
    /// Holds the front of a list for a send of that source. The entry is to be submitted, or the key given to
    /// [`Sends::ended`].
    pub fn begin(
        &mut self,
        source: SourceKey,
        fd: types::Fd,
        list: &WriteList,
    ) -> (SendKey, squeue::Entry) {
        let mut outgoing = self.free.pop().unwrap_or_default();
        outgoing.hold(list);
        let entry = outgoing.entry(fd);
        (self.under_way.insert((source, outgoing)), entry)
    }

    /// Never frees what the kernel may still read from.
    pub fn leak(mut self) {
        for (_, (_, outgoing)) in self.under_way.drain() {
            Box::leak(outgoing);
        }
    }

    /// The kernel has done with it; which source it was for.
    pub fn ended(&mut self, key: SendKey) -> SourceKey {
        let Some((source, mut outgoing)) = self.under_way.remove(key) else {
            return SourceKey::null();
        };
        if self.free.len() < limits::SENDS_GATHERED_MAX {
            outgoing.let_go();
            self.free.push(outgoing);
        }
        source
    }
}

impl Outgoing {
    fn hold(&mut self, list: &WriteList) {
        let parts = list.rest();
        if parts.len() > 1 && list.len() <= limits::JOINED_WRITE_BYTES {
            parts.iter().for_each(|part| self.joined.extend_from_slice(part));
        } else {
            self.parts.extend(parts.iter().take(limits::IOVECS_MAX).cloned());
        }
    }

    fn let_go(&mut self) {
        self.joined.clear();
        self.parts.clear();
        self.iovecs.clear();
        self.header = None;
    }

    /// The operation that sends what is held, all of it unless the connection breaks.
    fn entry(&mut self, fd: types::Fd) -> squeue::Entry {
        const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let only = match &self.parts[..] {
            [] => &self.joined[..],
            [only] => only,
            _ => return opcode::SendMsg::new(fd, self.header()).flags(FLAGS as u32).build(),
        };
        let length = u32::try_from(only.len()).unwrap_or(u32::MAX);
        opcode::Send::new(fd, only.as_ptr(), length).flags(FLAGS).build()
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

    fn held(list: &WriteList) -> Box<Outgoing> {
        let mut outgoing = Box::<Outgoing>::default();
        outgoing.hold(list);
        let _ = outgoing.entry(types::Fd(0));
        outgoing
    }

    #[test]
    fn short_parts_are_joined() {
        assert_eq!(held(&list(&["he", "ad", "body"])).joined, b"headbody");
        assert!(held(&list(&["alone"])).joined.is_empty());
    }

    #[test]
    fn long_parts_are_pointed_at_and_stay_where_they_are_when_the_send_is_kept() {
        let long: &'static str = "x".repeat(limits::JOINED_WRITE_BYTES).leak();
        let mut sends = Sends::default();
        let (key, _) = sends.begin(SourceKey::null(), types::Fd(0), &list(&["head", long]));
        let (_, outgoing) = &sends.under_way[key];
        let header = outgoing.header.as_ref().unwrap();
        assert_eq!(header.msg_iov.cast_const(), outgoing.iovecs.as_ptr());
        assert_eq!(outgoing.iovecs[1].iov_base as *const u8, long.as_ptr());
        let lengths: Vec<usize> = outgoing.iovecs.iter().map(|entry| entry.iov_len).collect();
        assert_eq!(lengths, [4, long.len()]);
    }

    #[test]
    fn an_ended_send_lends_its_allocations_to_the_next() {
        let mut sends = Sends::default();
        let (first, _) = sends.begin(SourceKey::null(), types::Fd(0), &list(&["a", "b"]));
        sends.ended(first);
        let (second, _) = sends.begin(SourceKey::null(), types::Fd(0), &list(&["c", "d"]));
        assert_eq!(sends.under_way[second].1.joined, b"cd");
        assert!(sends.free.is_empty());
    }
}
