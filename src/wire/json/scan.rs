//! The top-level members of an object, as spans of its bytes. Nested values are walked over by structure alone; what
//! could make two readers of one body disagree about its top level is refused: a key twice (however it is escaped),
//! bytes behind the end, what is not UTF-8.

use std::borrow::Cow;
use std::ops::Range;

use super::error::{JsonError, JsonErrorKind};
use super::text::{is_scalar, unescape};
use super::walk::{NestWalk, StringWalk, Walked};
use crate::base::limits::{JSON_KEY_BYTES_MAX, JSON_MEMBERS_MAX};
use crate::wire::block::{kinds, short_string};

/// Where the members of an object are. Holds spans alone, so it can be kept beside the body; each method is to be
/// given the body that was scanned.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub(super) members: Vec<Member>,
    /// The offset behind the opening brace.
    pub(super) opened: usize,
}

/// One member of an object.
#[derive(Clone, Copy, Debug, Default)]
pub struct Member {
    key_start: u32,
    key_end: u32,
    value_start: u32,
    value_end: u32,
    /// Tells most keys apart at one comparison.
    mark: u32,
    /// The key has escapes.
    escaped: bool,
}

/// Finds the members of the object that `body` is.
///
/// # Errors
/// When `body` is not one object and nothing else; see [`JsonErrorKind`]. Values nested in members are checked for
/// matching brackets and ended strings alone.
pub fn scan(body: &[u8]) -> Result<Fields, JsonError> {
    let clean = check_text(body)?;
    let mut scanner = Scanner { body, at: 0, clean };
    let opened = scanner.open()?;
    let mut fields = Fields { opened, members: Vec::with_capacity(MEMBERS_USUAL) };
    scanner.members(|member| fields.admit(body, member))?;
    scanner.close()?;
    Ok(fields)
}

/// Goes once through the members of a small object, none of which is kept: `on_member` gets each key, decoded, and raw
/// value. Keys may come twice, and that it is UTF-8 is not checked. `None`: it is not one object and nothing else.
#[must_use]
pub fn each_member<'a>(object: &'a [u8], mut on_member: impl FnMut(&[u8], &'a [u8])) -> Option<()> {
    let mut scanner = Scanner { body: object, at: 0, clean: false };
    scanner.open().ok()?;
    let members = scanner.members(|member| {
        on_member(&member.name(object), member.raw(object).unwrap_or_default());
        Ok(())
    });
    members.and_then(|()| scanner.close()).ok()
}

/// Refuses what is no text; returns whether it is free of control characters, as most are.
fn check_text(body: &[u8]) -> Result<bool, JsonError> {
    let error = |kind, at| Err(JsonError { kind, at });
    if u32::try_from(body.len()).is_err() {
        return error(JsonErrorKind::TooLong, body.len());
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return error(JsonErrorKind::ByteOrderMark, 0);
    }
    let kinds = kinds(body);
    if !kinds.ascii && simdutf8::basic::from_utf8(body).is_err() {
        let at = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
        return error(JsonErrorKind::NotUtf8, at);
    }
    Ok(!kinds.control)
}

impl Fields {
    /// The raw value of the member `name`.
    #[must_use]
    #[inline]
    pub fn value<'a>(&self, body: &'a [u8], name: &str) -> Option<&'a [u8]> {
        self.find(body, name)?.raw(body)
    }

    /// The raw values of several members at once.
    #[must_use]
    pub fn values<'a, const N: usize>(
        &self,
        body: &'a [u8],
        names: [&str; N],
    ) -> [Option<&'a [u8]>; N] {
        names.map(|name| self.value(body, name))
    }

    /// The member `name`.
    #[must_use]
    #[inline]
    pub fn find(&self, body: &[u8], name: &str) -> Option<&Member> {
        self.members.get(self.position(body, name)?)
    }

    /// All members, in their order.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether the object has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a member's key is `name` but for the case of ASCII letters. Servers written in Go take such a member
    /// for the one that is meant, so a rule about `name` has to look at it too.
    #[must_use]
    pub fn has_case_twin(&self, body: &[u8], name: &str) -> bool {
        let length_alike = |member: &&Member| member.mark as u8 == name.len() as u8;
        self.members.iter().filter(length_alike).any(|member| {
            let key = member.name(body);
            *key != *name.as_bytes() && key.eq_ignore_ascii_case(name.as_bytes())
        })
    }

    /// The index of the member `name`. Inlined, so that the mark of a name that is a constant is one too.
    #[inline]
    pub(super) fn position(&self, body: &[u8], name: &str) -> Option<usize> {
        self.marked(body, name.as_bytes(), mark(name.as_bytes()))
    }

    #[inline(never)]
    fn marked(&self, body: &[u8], name: &[u8], mark: u32) -> Option<usize> {
        self.members.iter().position(|member| member.mark == mark && *member.name(body) == *name)
    }

    fn admit(&mut self, body: &[u8], mut member: Member) -> Result<(), JsonError> {
        let place = member;
        let name = place.name(body);
        member.mark = mark(&name);
        let error = |kind| Err(JsonError { kind, at: member.key_start as usize });
        let mut alike = self.members.iter().filter(|other| other.mark == member.mark);
        if alike.any(|other| other.name(body) == name) {
            return error(JsonErrorKind::DuplicateKey);
        }
        if self.members.len() == JSON_MEMBERS_MAX {
            return error(JsonErrorKind::TooManyMembers);
        }
        self.members.push(member);
        Ok(())
    }
}

impl Member {
    /// Where the key stands, quotes included.
    #[must_use]
    pub fn key(&self) -> Range<usize> {
        self.key_start as usize..self.key_end as usize
    }

    /// Where the value stands.
    #[must_use]
    pub fn value(&self) -> Range<usize> {
        self.value_start as usize..self.value_end as usize
    }

    /// The bytes of the value.
    #[must_use]
    pub fn raw<'a>(&self, body: &'a [u8]) -> Option<&'a [u8]> {
        body.get(self.value())
    }

    /// The key, decoded. It is UTF-8 unless it was written with half a surrogate pair.
    #[must_use]
    pub fn name<'a>(&self, body: &'a [u8]) -> Cow<'a, [u8]> {
        let inner =
            body.get(self.key_start as usize + 1..(self.key_end as usize).saturating_sub(1));
        let inner = inner.unwrap_or_default();
        if self.escaped { unescape(inner).unwrap_or_default() } else { Cow::Borrowed(inner) }
    }
}

struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
    /// There are no control characters.
    clean: bool,
}

impl Scanner<'_> {
    /// The opening brace; returns where the next byte is.
    fn open(&mut self) -> Result<usize, JsonError> {
        if self.next() != Some(b'{') {
            return Err(self.error(JsonErrorKind::NotAnObject));
        }
        self.at += 1;
        Ok(self.at)
    }

    /// What follows the opening brace, through the closing one. Their marks are left to `on_member`.
    #[inline(always)]
    fn members(
        &mut self,
        mut on_member: impl FnMut(Member) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if self.next() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            let member = self.member()?;
            on_member(member)?;
            match self.next() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.unexpected(JsonErrorKind::ExpectedCommaOrEnd)),
            }
        }
    }

    /// What follows the closing brace: nothing.
    fn close(&mut self) -> Result<(), JsonError> {
        match self.next() {
            Some(_) => Err(self.error(JsonErrorKind::TrailingBytes)),
            None => Ok(()),
        }
    }

    #[inline(always)]
    fn member(&mut self) -> Result<Member, JsonError> {
        let first = self.next();
        let key = self.at;
        if first != Some(b'"') {
            return Err(self.unexpected(JsonErrorKind::ExpectedKey));
        }
        let escaped = match short_string(self.body, key + 1) {
            Some(length) => {
                self.at = key + length + 2;
                false
            }
            None => self.walk_key(key)?,
        };
        let key_end = self.at as u32;
        if self.next() != Some(b':') {
            return Err(self.unexpected(JsonErrorKind::ExpectedColon));
        }
        self.at += 1;
        let first = self.next();
        let value_start = self.at as u32;
        self.walk_value(first)?;
        let value_end = self.at as u32;
        Ok(Member { key_start: key as u32, key_end, value_start, value_end, mark: 0, escaped })
    }

    /// A key that is long or has escapes. Returns whether it has escapes.
    #[inline(never)]
    fn walk_key(&mut self, key: usize) -> Result<bool, JsonError> {
        self.walk_long_string()?;
        let inner = &self.body[key + 1..self.at - 1];
        if inner.len() > JSON_KEY_BYTES_MAX {
            return Err(JsonError { kind: JsonErrorKind::KeyTooLong, at: key });
        }
        let escaped = inner.contains(&b'\\');
        if escaped && unescape(inner).is_none() {
            return Err(JsonError { kind: JsonErrorKind::BadEscape, at: key });
        }
        Ok(escaped)
    }

    #[inline(always)]
    fn walk_value(&mut self, first: Option<u8>) -> Result<(), JsonError> {
        match first {
            Some(b'"') => match short_string(self.body, self.at + 1) {
                Some(length) => {
                    self.at += length + 2;
                    Ok(())
                }
                None => self.walk_long_string(),
            },
            Some(b'{' | b'[') => self.walk_nest(),
            _ => self.walk_scalar(),
        }
    }

    fn walk_long_string(&mut self) -> Result<(), JsonError> {
        self.take(StringWalk::new(self.clean).feed(self.body, self.at + 1))
    }

    fn walk_nest(&mut self) -> Result<(), JsonError> {
        self.take(NestWalk::new(1, self.clean).feed(self.body, self.at))
    }

    fn take(&mut self, walked: Walked) -> Result<(), JsonError> {
        match walked {
            Walked::Done(end) => {
                self.at = end;
                Ok(())
            }
            Walked::More => Err(JsonError { kind: JsonErrorKind::Truncated, at: self.body.len() }),
            Walked::Wrong(kind, at) => Err(JsonError { kind, at }),
        }
    }

    fn walk_scalar(&mut self) -> Result<(), JsonError> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !is_scalar_byte(*byte)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.unexpected(JsonErrorKind::ExpectedValue));
        }
        if !is_scalar(&rest[..length]) {
            return Err(self.error(JsonErrorKind::BadScalar));
        }
        self.at += length;
        Ok(())
    }

    /// The next byte that is not blank; it is not taken.
    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        match self.peek() {
            Some(byte) if byte > b' ' => Some(byte),
            _ => self.skip_blanks(),
        }
    }

    #[inline(never)]
    fn skip_blanks(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn unexpected(&self, kind: JsonErrorKind) -> JsonError {
        match self.peek() {
            Some(_) => self.error(kind),
            None => self.error(JsonErrorKind::Truncated),
        }
    }

    fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { kind, at: self.at }
    }
}

/// Room for the members of most requests. They fill 240 bytes: the allocator serves sizes that it rounds up to a power
/// of two at a quarter of the cost of others.
const MEMBERS_USUAL: usize = 10;

/// Whether a number or a literal could go on with this byte.
#[inline]
pub(super) fn is_scalar_byte(byte: u8) -> bool {
    IS_SCALAR_BYTE[usize::from(byte)]
}

const IS_SCALAR_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let sign = matches!(byte as u8, b'+' | b'-' | b'.');
        table[byte] = sign || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

/// Four bytes of a key that tell most keys apart.
#[inline(always)]
fn mark(key: &[u8]) -> u32 {
    let byte = |place: usize| key.get(place).copied().unwrap_or_default();
    let length = key.len();
    u32::from_le_bytes([length as u8, byte(0), byte(length / 2), byte(length.wrapping_sub(1))])
}
