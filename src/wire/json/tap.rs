//! Tells top-level values of an answer that passes by in pieces, without holding the answer: a value that lies in one
//! piece is lent, and copied only if pieces cut it.

use super::error::JsonErrorKind;
use super::scan::is_scalar_byte;
use super::text::{is_scalar, unescape};
use super::walk::{NestWalk, StringWalk, Walked};
use crate::base::limits::{JSON_KEY_BYTES_MAX, TAP_VALUE_BYTES_MAX};
use crate::wire::block::short_string;

/// Watches an answer for the values of a few top-level members. It never fails: of what is not an object of JSON it
/// tells nothing that counts.
#[derive(Clone, Debug)]
pub struct Tap {
    names: &'static [&'static str],
    state: State,
    /// The index of the name whose value is next or under way.
    wanted: Option<usize>,
    /// The beginning of a key, or of a wanted value, whose end has not come.
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Between(Mark),
    InKey(StringWalk),
    InString(StringWalk),
    InNest(NestWalk),
    InScalar,
    /// It is no JSON object after all.
    Lost,
}

/// What comes next between keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Start,
    /// Behind the opening brace.
    KeyOrEnd,
    /// Behind a comma.
    Key,
    Colon,
    Value,
    CommaOrEnd,
    /// Behind the closing brace.
    Complete,
}

impl Tap {
    /// A tap for the values of the members `names`.
    #[must_use]
    pub fn new(names: &'static [&'static str]) -> Tap {
        Tap { names, state: State::Between(Mark::Start), wanted: None, held: Vec::new() }
    }

    /// The next bytes of the answer. `on_value` gets each wanted value when it has passed in whole: the index of its
    /// name, and its raw text. It gets an empty text for one that is longer than [`TAP_VALUE_BYTES_MAX`] or has only
    /// begun: of a key that comes twice, the last value counts. None counts once the tap [is lost](Tap::is_lost).
    pub fn push(&mut self, bytes: &[u8], mut on_value: impl FnMut(usize, &[u8])) {
        let mut at = 0;
        while at < bytes.len() {
            at = match &mut self.state {
                State::Between(mark) => {
                    let mark = *mark;
                    self.pass_marks(bytes, at, mark, &mut on_value)
                }
                State::InKey(walk) => {
                    let walked = walk.feed(bytes, at);
                    self.end_key(bytes, at, walked)
                }
                State::InString(walk) => {
                    let walked = walk.feed(bytes, at);
                    self.end_value(bytes, at, walked, &mut on_value)
                }
                State::InNest(walk) => {
                    let walked = walk.feed(bytes, at);
                    self.end_value(bytes, at, walked, &mut on_value)
                }
                State::InScalar => {
                    let walked = walk_scalar(bytes, at);
                    self.end_value(bytes, at, walked, &mut on_value)
                }
                State::Lost => return,
            };
        }
    }

    /// Whether it is no object of JSON: what was told before does not count.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// Whether the object has ended, with nothing but white space behind it.
    #[must_use]
    pub fn complete(&self) -> bool {
        matches!(self.state, State::Between(Mark::Complete))
    }

    /// Whether it has been an object of JSON so far, and has not ended.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        !self.complete() && !self.is_lost()
    }

    /// Takes members as long as they lie there in whole.
    fn pass_marks(
        &mut self,
        bytes: &[u8],
        mut at: usize,
        mut mark: Mark,
        on_value: &mut impl FnMut(usize, &[u8]),
    ) -> usize {
        while let Some(&byte) = bytes.get(at) {
            if byte <= b' ' && matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                at += 1;
                continue;
            }
            // Nearly everybody writes a colon or comma at once: then it is taken too.
            let (next, passed) = match (mark, byte) {
                (Mark::KeyOrEnd | Mark::Key, b'"') => match self.key(bytes, at) {
                    Some(end) if bytes.get(end) == Some(&b':') => (Mark::Value, Some(end + 1)),
                    end => (Mark::Colon, end),
                },
                (Mark::Value, _) => match self.value(bytes, at, on_value) {
                    Some(end) if bytes.get(end) == Some(&b',') => (Mark::Key, Some(end + 1)),
                    end => (Mark::CommaOrEnd, end),
                },
                (Mark::Colon, b':') => (Mark::Value, Some(at + 1)),
                (Mark::CommaOrEnd, b',') => (Mark::Key, Some(at + 1)),
                (Mark::KeyOrEnd | Mark::CommaOrEnd, b'}') => (Mark::Complete, Some(at + 1)),
                (Mark::Start, b'{') => (Mark::KeyOrEnd, Some(at + 1)),
                _ => return self.lose(bytes),
            };
            let Some(passed) = passed else { return bytes.len() };
            (mark, at) = (next, passed);
        }
        self.state = State::Between(mark);
        at
    }

    /// Takes the key that starts at `at`; `None` if its end is not here, or it is none.
    #[inline(always)]
    fn key(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let Some(length) = short_string(bytes, at + 1) else { return self.long_key(bytes, at) };
        self.wanted = self.index_of(&bytes[at + 1..=at + length]);
        Some(at + length + 2)
    }

    /// A key that is long, has escapes, or is cut.
    #[inline(never)]
    fn long_key(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let mut walk = StringWalk::default();
        match walk.feed(bytes, at + 1) {
            Walked::Done(end) => {
                self.want(&bytes[at + 1..end - 1]);
                return Some(end);
            }
            Walked::More => {
                self.held.clear();
                self.hold_key(&bytes[at + 1..]);
                self.state = State::InKey(walk);
            }
            Walked::Wrong(..) => self.state = State::Lost,
        }
        None
    }

    fn end_key(&mut self, bytes: &[u8], at: usize, walked: Walked) -> usize {
        match walked {
            Walked::Done(end) => {
                self.hold_key(&bytes[at..end - 1]);
                let key = std::mem::take(&mut self.held);
                self.want(&key);
                self.held = key;
                self.state = State::Between(Mark::Colon);
                end
            }
            Walked::More => {
                self.hold_key(&bytes[at..]);
                bytes.len()
            }
            Walked::Wrong(..) => self.lose(bytes),
        }
    }

    /// One byte over the bound is kept, so that a longer key is no wanted one.
    fn hold_key(&mut self, bytes: &[u8]) {
        let room = (JSON_KEY_BYTES_MAX + 1).saturating_sub(self.held.len());
        self.held.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Notes whether the value of this key, as written, is wanted.
    fn want(&mut self, key: &[u8]) {
        if key.contains(&b'\\') {
            let short = key.len() <= JSON_KEY_BYTES_MAX;
            let key = if short { unescape(key) } else { None };
            self.wanted = key.and_then(|key| self.index_of(&key));
        } else {
            self.wanted = self.index_of(key);
        }
    }

    #[inline(always)]
    fn index_of(&self, key: &[u8]) -> Option<usize> {
        self.names.iter().position(|name| name.as_bytes() == key)
    }

    /// Takes the value that starts at `at`; `None` if its end is not here, or it is none.
    #[inline(always)]
    fn value(
        &mut self,
        bytes: &[u8],
        at: usize,
        on_value: &mut impl FnMut(usize, &[u8]),
    ) -> Option<usize> {
        let walked = match bytes[at] {
            b'"' => match short_string(bytes, at + 1) {
                Some(length) => Walked::Done(at + length + 2),
                None => {
                    let mut walk = StringWalk::default();
                    let walked = walk.feed(bytes, at + 1);
                    self.pause_if(walked, || State::InString(walk))
                }
            },
            b'{' | b'[' => {
                let mut walk = NestWalk::new(1, false);
                let walked = walk.feed(bytes, at);
                self.pause_if(walked, || State::InNest(walk))
            }
            byte if is_scalar_byte(byte) => {
                let walked = walk_scalar(bytes, at);
                self.pause_if(walked, || State::InScalar)
            }
            _ => Walked::Wrong(JsonErrorKind::ExpectedValue, at),
        };
        match walked {
            Walked::Done(end) if self.wanted.is_none() => return Some(end),
            Walked::Done(end) if self.tell(&bytes[at..end], on_value) => return Some(end),
            Walked::More => {
                self.held.clear();
                if let Some(index) = self.wanted {
                    on_value(index, b"");
                }
                self.hold_value(&bytes[at..]);
            }
            Walked::Done(_) | Walked::Wrong(..) => self.state = State::Lost,
        }
        None
    }

    /// Keeps the state of a walk that goes on with the next bytes.
    #[inline(always)]
    fn pause_if(&mut self, walked: Walked, state: impl FnOnce() -> State) -> Walked {
        if walked == Walked::More {
            self.state = state();
        }
        walked
    }

    fn end_value(
        &mut self,
        bytes: &[u8],
        at: usize,
        walked: Walked,
        on_value: &mut impl FnMut(usize, &[u8]),
    ) -> usize {
        match walked {
            Walked::Done(end) => {
                self.hold_value(&bytes[at..end]);
                let value = std::mem::take(&mut self.held);
                if !self.tell(&value, on_value) {
                    return self.lose(bytes);
                }
                self.held = value;
                self.state = State::Between(Mark::CommaOrEnd);
                end
            }
            Walked::More => {
                self.hold_value(&bytes[at..]);
                bytes.len()
            }
            Walked::Wrong(..) => self.lose(bytes),
        }
    }

    fn hold_value(&mut self, bytes: &[u8]) {
        if self.wanted.is_none() {
            return;
        }
        if self.held.len() + bytes.len() > TAP_VALUE_BYTES_MAX {
            self.wanted = None;
            self.held = Vec::new();
        } else {
            self.held.extend_from_slice(bytes);
        }
    }

    /// Tells a value, if it is wanted. False: it is none.
    fn tell(&self, value: &[u8], on_value: &mut impl FnMut(usize, &[u8])) -> bool {
        let Some(index) = self.wanted else { return true };
        if value.len() > TAP_VALUE_BYTES_MAX {
            on_value(index, b"");
            return true;
        }
        if !matches!(value.first(), Some(b'"' | b'{' | b'[')) && !is_scalar(value) {
            return false;
        }
        on_value(index, value);
        true
    }

    fn lose(&mut self, bytes: &[u8]) -> usize {
        self.state = State::Lost;
        bytes.len()
    }
}

/// A number or literal ends in front of what cannot belong to it.
fn walk_scalar(bytes: &[u8], at: usize) -> Walked {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.iter().position(|&byte| !is_scalar_byte(byte)) {
        Some(length) => Walked::Done(at + length),
        None => Walked::More,
    }
}
