//! The top-level members of an object, as spans of its bytes. Nested values are walked over by structure alone; what
//! could make two readers of one body disagree about its top level is refused: a key twice (however it is escaped),
//! bytes behind the end, what is not UTF-8.

use std::borrow::Cow;
use std::ops::Range;

use super::block::short_string;
use super::error::{JsonError, JsonErrorKind};
use super::text::{is_scalar, unescape};
use super::walk::{NestWalk, StringWalk, Walked};
use crate::base::limits::{JSON_KEY_BYTES_MAX, JSON_MEMBERS_MAX};

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
    check_text(body)?;
    let mut scanner = Scanner { body, at: 0 };
    scanner.skip_blanks();
    if scanner.peek() != Some(b'{') {
        return Err(scanner.error(JsonErrorKind::NotAnObject));
    }
    scanner.at += 1;
    let mut fields = Fields { opened: scanner.at, members: Vec::with_capacity(MEMBERS_USUAL) };
    scanner.members(&mut fields)?;
    scanner.skip_blanks();
    if scanner.peek().is_some() {
        return Err(scanner.error(JsonErrorKind::TrailingBytes));
    }
    Ok(fields)
}

fn check_text(body: &[u8]) -> Result<(), JsonError> {
    let error = |kind, at| Err(JsonError { kind, at });
    if u32::try_from(body.len()).is_err() {
        return error(JsonErrorKind::TooLong, body.len());
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return error(JsonErrorKind::ByteOrderMark, 0);
    }
    if simdutf8::basic::from_utf8(body).is_err() {
        let at = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
        return error(JsonErrorKind::NotUtf8, at);
    }
    Ok(())
}

impl Fields {
    /// The raw value of the member `name`.
    #[must_use]
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
        self.members.iter().any(|member| {
            let key = member.name(body);
            key.eq_ignore_ascii_case(name.as_bytes()) && *key != *name.as_bytes()
        })
    }

    /// The index of the member `name`.
    pub(super) fn position(&self, body: &[u8], name: &str) -> Option<usize> {
        let name = name.as_bytes();
        let mark = mark(name);
        self.members.iter().position(|member| member.mark == mark && *member.name(body) == *name)
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
}

impl Scanner<'_> {
    /// What follows the opening brace, through the closing one.
    fn members(&mut self, fields: &mut Fields) -> Result<(), JsonError> {
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_blanks();
            let member = self.member()?;
            self.admit(fields, member)?;
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.unexpected(JsonErrorKind::ExpectedCommaOrEnd)),
            }
        }
    }

    fn member(&mut self) -> Result<Member, JsonError> {
        let key = self.at;
        if self.peek() != Some(b'"') {
            return Err(self.unexpected(JsonErrorKind::ExpectedKey));
        }
        self.walk_string()?;
        let inner = &self.body[key + 1..self.at - 1];
        if inner.len() > JSON_KEY_BYTES_MAX {
            return Err(JsonError { kind: JsonErrorKind::KeyTooLong, at: key });
        }
        let (mark, escaped) = self.mark_key(key, inner)?;
        let key_end = self.at as u32;
        self.skip_blanks();
        if self.peek() != Some(b':') {
            return Err(self.unexpected(JsonErrorKind::ExpectedColon));
        }
        self.at += 1;
        self.skip_blanks();
        let value_start = self.at as u32;
        self.walk_value()?;
        let value_end = self.at as u32;
        Ok(Member { key_start: key as u32, key_end, value_start, value_end, mark, escaped })
    }

    fn mark_key(&self, at: usize, inner: &[u8]) -> Result<(u32, bool), JsonError> {
        if !inner.contains(&b'\\') {
            return Ok((mark(inner), false));
        }
        match unescape(inner) {
            Some(name) => Ok((mark(&name), true)),
            None => Err(JsonError { kind: JsonErrorKind::BadEscape, at }),
        }
    }

    fn admit(&self, fields: &mut Fields, member: Member) -> Result<(), JsonError> {
        let error = |kind| Err(JsonError { kind, at: member.key_start as usize });
        let mut alike = fields.members.iter().filter(|other| other.mark == member.mark);
        if alike.any(|other| other.name(self.body) == member.name(self.body)) {
            return error(JsonErrorKind::DuplicateKey);
        }
        if fields.members.len() == JSON_MEMBERS_MAX {
            return error(JsonErrorKind::TooManyMembers);
        }
        fields.members.push(member);
        Ok(())
    }

    fn walk_value(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.walk_string(),
            Some(b'{' | b'[') => self.take(NestWalk::new(1).feed(self.body, self.at)),
            _ => self.walk_scalar(),
        }
    }

    fn walk_string(&mut self) -> Result<(), JsonError> {
        if let Some(length) = short_string(self.body, self.at + 1) {
            self.at += length + 2;
            return Ok(());
        }
        self.take(StringWalk::default().feed(self.body, self.at + 1))
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
        let rest = &self.body[self.at..];
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

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

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

/// Room for the members of most requests.
const MEMBERS_USUAL: usize = 8;

/// Whether a number or a literal could go on with this byte.
pub(super) fn is_scalar_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Four bytes of a key that tell most keys apart.
fn mark(key: &[u8]) -> u32 {
    let byte = |place: usize| key.get(place).copied().unwrap_or_default();
    let length = key.len();
    u32::from_le_bytes([length as u8, byte(0), byte(length / 2), byte(length.wrapping_sub(1))])
}
