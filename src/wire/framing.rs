//! How long a message's body is, and whether its connection lives on: the rules of RFC 9112 sections 6 and 9,
//! with every way in which two readers could disagree refused.

use super::{
    fields::{ConnectionOptions, HeaderList, HeaderSpan, is_name, table},
    head_error::HeadError,
};

/// Where a message's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// Where the connection closes; answers only.
    UntilClose,
}

/// The version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    /// Takes the minor version.
    pub(super) fn from_minor(minor: Option<u8>) -> Version {
        if minor == Some(0) { Version::Http10 } else { Version::Http11 }
    }
}

/// What the fields of one head say about its framing and its connection.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    hosts: usize,
    has_bad_host: bool,
    pub(super) expects_continue: bool,
    pub(super) has_upgrade: bool,
    pub(super) connection: ConnectionOptions,
}

impl Facts {
    /// Collects the facts from all fields. Names are told apart by their length first: most need no comparison.
    pub(super) fn of(
        head: &[u8],
        headers: &mut HeaderList,
        version: Version,
    ) -> Result<Facts, HeadError> {
        let mut facts = Facts::default();
        let HeaderList { spans, listed, .. } = headers;
        for HeaderSpan { name, value } in spans.iter() {
            let is = |known: &str| is_name(name.of(head), known.as_bytes());
            match name.len() {
                4 if is("host") => facts.note_host(value.of(head)),
                6 if is("expect") => facts.note_expect(value.of(head)),
                7 if is("upgrade") => facts.has_upgrade = true,
                10 if is("connection") => facts.connection.read(head, value.of(head), listed)?,
                14 if is("content-length") => facts.note_length(value.of(head))?,
                17 if is("transfer-encoding") => facts.note_encoding(value.of(head))?,
                _ => {}
            }
        }
        facts.check_framing(version)?;
        Ok(facts)
    }

    fn note_host(&mut self, value: &[u8]) {
        self.hosts += 1;
        self.has_bad_host |= !is_host(value);
    }

    /// Other expectations than 100-continue are ignored, as RFC 9110 section 10.1.1 allows.
    fn note_expect(&mut self, value: &[u8]) {
        self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
    }

    /// RFC 9112 section 6.3 lets a reader accept a repeated length if all values are the same. Here every repeat
    /// and every list is refused: no SDK or provider sends one, and heads can be passed on without looking again.
    fn note_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.length.is_some() {
            return Err(HeadError::SeveralLengths);
        }
        self.length = Some(decimal(value).ok_or(HeadError::BadLength)?);
        Ok(())
    }

    /// Only `chunked` alone, once: RFC 9112 section 6.1 knows more, but nobody sends it, and lists are how
    /// requests are smuggled.
    fn note_encoding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.chunked {
            return Err(HeadError::SeveralTransferEncodings);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(HeadError::UnknownTransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// Both kinds of framing together, or chunks in HTTP/1.0, mean a broken or hostile sender (RFC 9112
    /// sections 6.1 and 6.3).
    fn check_framing(&self, version: Version) -> Result<(), HeadError> {
        match (self.chunked, self.length, version) {
            (true, Some(_), _) => Err(HeadError::LengthWithTransferEncoding),
            (true, None, Version::Http10) => Err(HeadError::TransferEncodingInHttp10),
            _ => Ok(()),
        }
    }

    /// A request has exactly one good `Host`, or none in HTTP/1.0 (RFC 9112 section 3.2): of two, two readers might
    /// take different ones. In an answer the field means nothing.
    pub(super) fn check_host(&self, version: Version) -> Result<(), HeadError> {
        match (self.hosts, version) {
            (0, Version::Http11) => Err(HeadError::MissingHost),
            (0 | 1, _) if self.has_bad_host => Err(HeadError::BadHost),
            (0 | 1, _) => Ok(()),
            _ => Err(HeadError::SeveralHosts),
        }
    }

    /// What the head announces; `None`: neither a length nor chunks.
    pub(super) fn announced(&self) -> Option<Framing> {
        if self.chunked { Some(Framing::Chunked) } else { self.length.map(Framing::Length) }
    }

    /// Whether the connection may carry another message (RFC 9112 section 9.3).
    pub(super) fn keep_alive(&self, version: Version) -> bool {
        let by_default = version == Version::Http11;
        !self.connection.close && (by_default || self.connection.keep_alive)
    }
}

/// Digits only: no sign, no blank, no list; `None` also if it does not fit.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Whether these bytes can be `uri-host [ ":" port ]` of RFC 3986; empty where the target has no authority.
pub(super) fn is_host(text: &[u8]) -> bool {
    text.iter().all(|&byte| IS_HOST_BYTE[usize::from(byte)])
}

const IS_HOST_BYTE: [bool; 256] =
    table(b"-._~%!$&'()*+;=:[]0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
