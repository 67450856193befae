//! The bodies of an exchange on their way into the log, where `log.bodies` asks for them. Kept are references to the
//! bytes that pass anyway; joining and compressing is the log's affair.

use bytes::{Bytes, BytesMut};

use crate::{
    base::limits,
    io::log::{BodyEntry, LogSender},
    journal::entry::Entry,
    wire::record::segment::Side,
};

/// What is kept of both bodies.
#[derive(Debug, Default)]
pub struct Bodies {
    /// What the client sent, without its framing.
    pub request: Kept,
    /// What the client was sent, without its framing.
    pub answer: Kept,
}

/// The beginning of one body, up to a bound.
#[derive(Debug, Default)]
pub struct Kept {
    content_type: String,
    parts: Vec<Bytes>,
    /// Small pieces, copied together: a reference to a few bytes would keep a whole read buffer from being used again.
    small: BytesMut,
    bytes: usize,
    cut: bool,
}

impl Kept {
    /// Notes what kind of body it is.
    pub fn of_type(&mut self, content_type: &[u8]) {
        self.content_type = String::from_utf8_lossy(content_type).into_owned();
    }

    /// Keeps a piece, or the part of it that there is room for.
    pub fn add(&mut self, piece: &Bytes) {
        let room = limits::BODY_BYTES_LOGGED_MAX - self.bytes;
        let cut = piece.len() > room;
        self.cut |= cut;
        let kept = piece.len().min(room);
        self.bytes += kept;
        if cut || kept < SMALL_BYTES {
            self.small.extend_from_slice(&piece[..kept]);
            return;
        }
        self.gather();
        self.parts.push(piece.clone());
    }

    /// Bytes kept.
    pub fn kept_bytes(&self) -> usize {
        self.bytes
    }

    fn gather(&mut self) {
        if !self.small.is_empty() {
            self.parts.push(self.small.split().freeze());
        }
    }

    fn entry(mut self, side: Side, exchange: &Entry<'_>) -> Option<BodyEntry> {
        self.gather();
        (self.bytes > 0 || self.cut).then(|| BodyEntry {
            request_id: exchange.request_id.0,
            accepted_unix_nanos: exchange.accepted_unix.nanos,
            side,
            content_type: self.content_type,
            parts: self.parts,
            cut: self.cut,
        })
    }
}

impl Bodies {
    /// Hands them to the log. What finds its queue full is dropped and counted there.
    pub fn submit(self, exchange: &Entry<'_>, log: &LogSender) {
        let request = self.request.entry(Side::Request, exchange);
        let answer = self.answer.entry(Side::Response, exchange);
        for body in request.into_iter().chain(answer) {
            let _ = log.submit_body(body);
        }
    }
}

/// Below half a read buffer a piece is copied: what is kept then holds at most twice its own size.
const SMALL_BYTES: usize = limits::READ_BUFFER_BYTES / 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(kept: Kept) -> (Vec<u8>, bool) {
        let entry = kept.entry(Side::Request, &Entry::default()).expect("a body");
        (entry.parts.concat(), entry.cut)
    }

    #[test]
    fn pieces_of_every_size_come_together_in_order() {
        let mut kept = Kept::default();
        let mut expected = Vec::new();
        for (at, length) in [3, 0, SMALL_BYTES, 5, 6, 2 * SMALL_BYTES, 20_000, 1].iter().enumerate()
        {
            let piece = Bytes::from(vec![at as u8; *length]);
            expected.extend_from_slice(&piece);
            kept.add(&piece);
        }
        assert_eq!(whole(kept), (expected, false));
    }

    #[test]
    fn a_large_piece_is_not_copied_and_a_small_one_holds_no_buffer() {
        let large = Bytes::from(vec![1; SMALL_BYTES]);
        let small = Bytes::from(vec![1; SMALL_BYTES - 1]);
        let mut kept = Kept::default();
        kept.add(&large);
        kept.add(&small);
        assert!(!large.is_unique());
        assert!(small.is_unique());
    }

    #[test]
    fn at_the_bound_all_is_kept_and_beyond_it_the_rest_is_noted_as_cut() {
        let most = limits::BODY_BYTES_LOGGED_MAX;
        for (length, kept_bytes, cut) in
            [(most - 1, most - 1, false), (most, most, false), (most + 1, most, true)]
        {
            let mut kept = Kept::default();
            kept.add(&Bytes::from(vec![0; length]));
            assert_eq!(whole(kept), (vec![0; kept_bytes], cut), "{length}");
        }
        let mut kept = Kept::default();
        (0..3).for_each(|_| kept.add(&Bytes::from(vec![0; most / 2])));
        kept.add(&Bytes::from_static(b"more"));
        assert_eq!(whole(kept), (vec![0; most], true));
    }

    #[test]
    fn an_empty_body_is_none() {
        let mut kept = Kept::default();
        kept.of_type(b"application/json");
        kept.add(&Bytes::new());
        assert!(kept.entry(Side::Response, &Entry::default()).is_none());
    }
}
