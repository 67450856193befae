//! Captures top-level values of an answer that passes by in pieces, without holding the answer.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::block::short_string;
use super::scan::is_scalar_byte;
use super::text::{is_scalar, unescape};
use super::walk::{NestWalk, StringWalk, Walked};
use crate::base::limits::{JSON_KEY_BYTES_MAX, TAP_VALUE_BYTES_MAX};

/// Watches an answer for the values of a few top-level members. It never fails: of what is not an object of JSON it
/// captures nothing.
#[derive(Clone, Debug)]
pub struct Tap {
    state: State,
    /// The key at hand, as written.
    key: Vec<u8>,
    /// The index of the name whose value passes by.
    current: Option<usize>,
    captures: SmallVec<[Capture; 4]>,
}

#[derive(Clone, Debug)]
struct Capture {
    name: &'static str,
    value: Vec<u8>,
    state: Captured,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Captured {
    No,
    Partly,
    Whole,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Start,
    /// Behind the opening brace.
    KeyOrEnd,
    /// Behind a comma.
    Key,
    InKey(StringWalk),
    Colon,
    Value,
    InString(StringWalk),
    InNest(NestWalk),
    InScalar,
    CommaOrEnd,
    /// Behind the closing brace.
    Complete,
    /// It is no JSON object after all.
    Lost,
}

impl Tap {
    /// A tap for the values of the members `names`. Of a key that comes twice, the last value counts.
    #[must_use]
    pub fn new(names: &'static [&'static str]) -> Tap {
        let capture = |&name| Capture { name, value: Vec::new(), state: Captured::No };
        Tap {
            state: State::Start,
            key: Vec::new(),
            current: None,
            captures: names.iter().map(capture).collect(),
        }
    }

    /// The next bytes of the answer.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            at = match &mut self.state {
                State::InKey(walk) => {
                    let walked = walk.feed(bytes, at);
                    self.pass_key(bytes, at, walked)
                }
                State::InString(walk) => {
                    let walked = walk.feed(bytes, at);
                    self.pass_value(bytes, at, walked)
                }
                State::InNest(walk) => {
                    let walked = walk.feed(bytes, at);
                    self.pass_value(bytes, at, walked)
                }
                State::InScalar => self.pass_scalar(bytes, at),
                State::Lost => return,
                _ => self.pass_mark(bytes, at),
            };
        }
    }

    /// The raw value of a member, once it has passed in whole. None if it was longer than
    /// [`TAP_VALUE_BYTES_MAX`].
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        if matches!(self.state, State::Lost) {
            return None;
        }
        let capture = self.captures.iter().find(|capture| capture.name == name)?;
        (capture.state == Captured::Whole).then_some(capture.value.as_slice())
    }

    /// Whether the object has ended, with nothing but white space behind it.
    #[must_use]
    pub fn complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Whether it has been an object of JSON so far, and has not ended.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        !matches!(self.state, State::Complete | State::Lost)
    }

    /// A byte between keys and values.
    fn pass_mark(&mut self, bytes: &[u8], at: usize) -> usize {
        let byte = bytes[at];
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            return at + 1;
        }
        self.state = match (&self.state, byte) {
            (State::Start, b'{') => State::KeyOrEnd,
            (State::KeyOrEnd | State::Key, b'"') => {
                self.key.clear();
                if let Some(length) = short_string(bytes, at + 1) {
                    self.key.extend_from_slice(&bytes[at + 1..=at + length]);
                    self.state = State::Colon;
                    return at + length + 2;
                }
                State::InKey(StringWalk::default())
            }
            (State::Colon, b':') => State::Value,
            (State::Value, _) => return self.begin_value(bytes, at),
            (State::CommaOrEnd, b',') => State::Key,
            (State::KeyOrEnd | State::CommaOrEnd, b'}') => State::Complete,
            _ => State::Lost,
        };
        at + 1
    }

    /// The first byte of a value, which `pass_value` or `pass_scalar` will take again unless it is a quote.
    fn begin_value(&mut self, bytes: &[u8], at: usize) -> usize {
        let byte = bytes[at];
        let plain = !self.key.contains(&b'\\');
        let key = if plain { Some(Cow::from(&self.key)) } else { unescape(&self.key) };
        let named = |capture: &Capture| key.as_deref() == Some(capture.name.as_bytes());
        self.current = self.captures.iter().position(named);
        if let Some(capture) = self.capture() {
            capture.value.clear();
            capture.state = Captured::Partly;
        }
        match byte {
            b'"' => {
                if let Some(length) = short_string(bytes, at + 1) {
                    self.keep(&bytes[at..at + length + 2]);
                    self.finish_value();
                    return at + length + 2;
                }
                self.state = State::InString(StringWalk::default());
                self.keep(b"\"");
                return at + 1;
            }
            b'{' | b'[' => self.state = State::InNest(NestWalk::new(1)),
            _ if is_scalar_byte(byte) => self.state = State::InScalar,
            _ => self.state = State::Lost,
        }
        at
    }

    fn pass_key(&mut self, bytes: &[u8], at: usize, walked: Walked) -> usize {
        let (end, inner_end) = match walked {
            Walked::Done(end) => (end, end - 1),
            Walked::More => (bytes.len(), bytes.len()),
            Walked::Wrong(..) => return self.lose(bytes),
        };
        // One byte over the bound is kept, so that a longer key is no wanted one.
        let room = (JSON_KEY_BYTES_MAX + 1).saturating_sub(self.key.len());
        self.key.extend_from_slice(&bytes[at..inner_end.min(at + room)]);
        if let Walked::Done(_) = walked {
            self.state = State::Colon;
        }
        end
    }

    fn pass_value(&mut self, bytes: &[u8], at: usize, walked: Walked) -> usize {
        let end = match walked {
            Walked::Done(end) => end,
            Walked::More => bytes.len(),
            Walked::Wrong(..) => return self.lose(bytes),
        };
        self.keep(&bytes[at..end]);
        if let Walked::Done(_) = walked {
            self.finish_value();
        }
        end
    }

    fn pass_scalar(&mut self, bytes: &[u8], at: usize) -> usize {
        let rest = &bytes[at..];
        let length = rest.iter().position(|&byte| !is_scalar_byte(byte)).unwrap_or(rest.len());
        self.keep(&rest[..length]);
        if length < rest.len() {
            if self.capture().is_some_and(|capture| !capture.is_sound_scalar()) {
                return self.lose(bytes);
            }
            self.finish_value();
        }
        at + length
    }

    fn finish_value(&mut self) {
        if let Some(capture) = self.capture()
            && capture.state == Captured::Partly
        {
            capture.state = Captured::Whole;
        }
        self.state = State::CommaOrEnd;
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some(capture) = self.capture() {
            capture.keep(bytes);
        }
    }

    fn capture(&mut self) -> Option<&mut Capture> {
        self.captures.get_mut(self.current?)
    }

    fn lose(&mut self, bytes: &[u8]) -> usize {
        self.state = State::Lost;
        bytes.len()
    }
}

impl Capture {
    fn keep(&mut self, bytes: &[u8]) {
        if self.state != Captured::Partly {
            return;
        }
        if self.value.len() + bytes.len() > TAP_VALUE_BYTES_MAX {
            self.state = Captured::No;
            self.value = Vec::new();
        } else {
            self.value.extend_from_slice(bytes);
        }
    }

    fn is_sound_scalar(&self) -> bool {
        self.state == Captured::No || is_scalar(&self.value)
    }
}
