//! The request heads that a core saw last, and what it learnt from them: who calls, and the head that goes to the
//! target. A client sends the same head again and again; all that follows from it alone need not be found again.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use bytes::{Bytes, BytesMut};
use foldhash::fast::RandomState;

use super::outgoing_head::Written;
use crate::{
    base::limits,
    policy::key::Caller,
    wire::{
        head::{HeadError, HeadLimits, Progress, RequestHead, Span, parse_request},
        seen::{Again, SeenHead},
    },
};

/// The heads that a core saw last. A head has one place, by its hash; a newer one takes it over.
#[derive(Default)]
pub struct Heads {
    places: RefCell<Vec<Option<Rc<Seen>>>>,
    epoch: Cell<u64>,
    hasher: RandomState,
}

/// A head, and what was learnt from it in an epoch. An exchange holds it for as long as it runs.
pub struct Seen {
    parsed: SeenHead,
    /// Its bytes as text, which nearly all are: what is read of it over and over need not be checked each time.
    text: Option<Box<str>>,
    /// Of all of it but the length, by a secret of this core's.
    hash: u64,
    /// In which epoch it authenticated whom.
    caller: Cell<Option<(u64, Caller<'static>)>>,
    /// The head that was last written for a target.
    pub written: RefCell<Option<Written>>,
}

impl Seen {
    /// A head that nothing is known of yet.
    pub fn new(head: RequestHead, bytes: Bytes) -> Rc<Seen> {
        Seen::hashed(SeenHead::new(head, bytes), 0)
    }

    fn hashed(parsed: SeenHead, hash: u64) -> Rc<Seen> {
        let text = std::str::from_utf8(parsed.bytes()).ok().map(Box::from);
        Rc::new(Seen { parsed, text, hash, caller: Cell::new(None), written: RefCell::default() })
    }

    /// The head, but for its length and framing.
    pub fn head(&self) -> &RequestHead {
        self.parsed.head()
    }

    /// Its bytes, as they came the first time.
    pub fn bytes(&self) -> &[u8] {
        self.parsed.bytes()
    }

    /// A part of it, if that is text.
    pub fn text(&self, part: Span) -> Option<&str> {
        match &self.text {
            Some(text) => text.get(part.range()),
            None => std::str::from_utf8(part.of(self.bytes())).ok(),
        }
    }

    /// Who this head has authenticated in that epoch. Whether the key still holds is to be asked each time.
    pub fn caller(&self, epoch: u64) -> Option<Caller<'static>> {
        self.caller.get().filter(|(known, _)| *known == epoch).map(|(_, caller)| caller)
    }

    /// Keeps who was authenticated.
    pub fn learn_caller(&self, epoch: u64, caller: Caller<'static>) {
        self.caller.set(Some((epoch, caller)));
    }
}

/// A head at the front of a buffer.
pub struct Found {
    /// What is known of it.
    pub seen: Rc<Seen>,
    /// Its bytes and framing.
    pub again: Again,
    /// Whether it came before.
    pub repeated: bool,
    /// Its hash, by which the connection's next one is looked for first.
    pub hash: u64,
}

impl Heads {
    /// Takes note of the epoch: what was learnt in another one is forgotten, credentials with it.
    pub fn settle(&self, epoch: u64) {
        if self.epoch.replace(epoch) != epoch {
            self.places.borrow_mut().clear();
        }
    }

    /// The head at the front of `buffer`, if it is the one of that hash. A client's bytes are compared with no other
    /// head: how long that takes must say nothing of another client's key.
    pub fn again(&self, buffer: &[u8], hash: u64) -> Option<Found> {
        let places = self.places.borrow();
        let seen = places.get(place_of(hash))?.as_ref().filter(|seen| seen.hash == hash)?;
        let again = seen.parsed.again(buffer)?;
        Some(Found { seen: Rc::clone(seen), again, repeated: true, hash })
    }

    /// Reads the head at the front of `buffer`; `None`: there is more to come.
    pub fn read(
        &self,
        buffer: &BytesMut,
        progress: &mut Progress,
        limits: &HeadLimits,
    ) -> Result<Option<Found>, HeadError> {
        let Some(head) = parse_request(buffer, progress, limits)? else { return Ok(None) };
        let again = Again { len: head.len, framing: head.framing };
        let parsed = SeenHead::new(head, Bytes::copy_from_slice(&buffer[..again.len]));
        let hash = parsed.hash(&self.hasher);
        let seen = Seen::hashed(parsed, hash);
        Ok(Some(self.keep(seen, again)))
    }

    /// Keeps a head for its next time, unless it is long, or kept already.
    fn keep(&self, seen: Rc<Seen>, again: Again) -> Found {
        let hash = seen.hash;
        if again.len > limits::SEEN_HEAD_BYTES_MAX {
            return Found { seen, again, repeated: false, hash };
        }
        if let Some(known) = self.again(seen.bytes(), hash) {
            return known;
        }
        let mut places = self.places.borrow_mut();
        places.resize_with(limits::SEEN_HEADS_MAX, || None);
        places[place_of(hash)] = Some(Rc::clone(&seen));
        Found { seen, again, repeated: false, hash }
    }
}

fn place_of(hash: u64) -> usize {
    (hash % limits::SEEN_HEADS_MAX as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(head: &[u8]) -> Rc<Seen> {
        let parsed = parse_request(head, &mut Progress::default(), &HeadLimits::default());
        Seen::new(parsed.expect("a good head").expect("a whole one"), Bytes::copy_from_slice(head))
    }

    /// A head with a value that is no text is read part by part.
    #[test]
    fn parts_are_text_where_they_are_whatever_stands_beside_them() {
        for (beside, text) in [(&b"b"[..], Some("b")), ("é".as_bytes(), Some("é")), (b"\xe9", None)]
        {
            let lines = [b"GET /v1/models HTTP/1.1\r\nhost: a\r\nx: ", beside, b"\r\n\r\n"];
            let seen = seen(&lines.concat());
            let value = |name: &str| seen.text(seen.head().find_span(seen.bytes(), name)?);
            assert_eq!(seen.text(seen.head().path), Some("/v1/models"));
            assert_eq!(value("host"), Some("a"));
            assert_eq!(value("x"), text);
            assert_eq!(value("y"), None);
        }
    }
}
