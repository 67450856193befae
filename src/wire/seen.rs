//! A request head that is kept to be recognised when it comes again: SDKs send the same head with every request, but
//! for the digits of `Content-Length`. What is the same byte for byte needs no second reading. Comparing takes a
//! twentieth of the instructions of parsing, and spares what else is derived from a head.

use std::hash::BuildHasher;

use bytes::Bytes;

use super::{
    fields::Span,
    framing::{Framing, decimal},
    request::RequestHead,
};

/// A head with its bytes.
#[derive(Debug)]
pub struct SeenHead {
    head: RequestHead,
    bytes: Bytes,
    /// Where the digits of `Content-Length` stand; empty, and at the end, if it has none.
    digits: Span,
}

/// What the front of a buffer is, if it is a head that was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// Bytes of the head.
    pub len: usize,
    /// Where its body ends.
    pub framing: Framing,
}

impl SeenHead {
    /// `bytes`: those that `head` was parsed from, and no more.
    #[must_use]
    pub fn new(head: RequestHead, bytes: Bytes) -> SeenHead {
        let digits = match head.find(&bytes, "content-length") {
            Some(digits) => Span::locate(&bytes, digits),
            None => Span::new(bytes.len(), bytes.len()),
        };
        SeenHead { head, bytes, digits }
    }

    /// The head. Its length and framing are those of the first time.
    #[must_use]
    pub fn head(&self) -> &RequestHead {
        &self.head
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether `buffer` begins with this head, whatever length it announces.
    #[must_use]
    pub fn again(&self, buffer: &[u8]) -> Option<Again> {
        let (before, after) = self.parts();
        let rest = buffer.strip_prefix(before)?;
        if !matches!(self.head.framing, Framing::Length(_)) {
            return Some(Again { len: before.len(), framing: self.head.framing });
        }
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at(count);
        rest.starts_with(after).then_some(())?;
        let framing = Framing::Length(decimal(digits)?);
        Some(Again { len: before.len() + count + after.len(), framing })
    }

    /// The same for all heads that are the same but for the length.
    #[must_use]
    pub fn hash(&self, hasher: &impl BuildHasher) -> u64 {
        let (before, after) = self.parts();
        hasher.hash_one((before, after))
    }

    /// What stands before and behind the digits.
    fn parts(&self) -> (&[u8], &[u8]) {
        let (start, end) = (self.digits.start as usize, self.digits.end as usize);
        (&self.bytes[..start], &self.bytes[end..])
    }
}
