//! The head of an answer, as an upstream sends it.

use std::{mem::MaybeUninit, ops::Deref};

use httparse::{ParserConfig, Response};

use super::{
    fields::HeaderList,
    framing::{Facts, Framing, Version},
    head_end::{Progress, Side},
    head_error::HeadError,
    head_fault::check_outcome,
    head_plain::plain_answer,
    target::Method,
};
use crate::base::limits::{HEADERS_MAX, UPSTREAM_HEAD_BYTES_MAX};

/// An answer's head. Spans and accessors refer to the bytes that were parsed, of which it took the first `len`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// Bytes of the head, with the blank line.
    pub len: usize,
    /// The status, 100 to 999.
    pub status: u16,
    /// The version.
    pub version: Version,
    /// Where the body ends.
    pub framing: Framing,
    /// The `Content-Length` as announced, even where there is no body, as in an answer to HEAD.
    pub announced_length: Option<u64>,
    /// The connection may be used again once the body is read to its end.
    pub keep_alive: bool,
    headers: HeaderList,
}

/// Takes an answer's head from the front of `bytes`; `None`: there is more to come. `to_method` is the method of the
/// request that it answers: without it the body's end cannot be known.
pub fn parse_response(
    bytes: &[u8],
    progress: &mut Progress,
    to_method: Method,
) -> Result<Option<ResponseHead>, HeadError> {
    match progress.find_end(bytes, UPSTREAM_HEAD_BYTES_MAX, Side::Response)? {
        Some(range) => response_from(&bytes[range], to_method).map(Some),
        None => Ok(None),
    }
}

fn response_from(head: &[u8], to_method: Method) -> Result<ResponseHead, HeadError> {
    let (status, version, mut headers) = match plain_answer(head) {
        Some((status, headers)) => (status, Version::Http11, headers),
        None => tokenized(head)?,
    };
    let facts = Facts::of(head, &mut headers, version)?;
    let framing = response_framing(&facts, status, to_method);
    let keep_alive = facts.keep_alive(version)
        && framing != Framing::UntilClose
        && status != 101
        && !announces_impossible_body(&facts, status);
    Ok(ResponseHead {
        len: head.len(),
        status,
        version,
        framing,
        announced_length: facts.length,
        keep_alive,
        headers,
    })
}

/// The status, the version and the fields of a head that may be written in any way.
#[inline(never)]
fn tokenized(head: &[u8]) -> Result<(u16, Version, HeaderList), HeadError> {
    let mut table = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut response = Response::new(&mut []);
    let outcome =
        ParserConfig::default().parse_response_with_uninit_headers(&mut response, head, &mut table);
    check_outcome(outcome, head, Side::Response)?;
    let status = response.code.filter(|&code| code >= 100).ok_or(HeadError::BadStatusLine)?;
    let headers = HeaderList::locate(head, response.headers)?;
    Ok((status, Version::from_minor(response.version), headers))
}

/// RFC 9112 section 6.3, items 1, 4, 6 and 8.
fn response_framing(facts: &Facts, status: u16, to_method: Method) -> Framing {
    let never_has_body = to_method == Method::Head || matches!(status, 100..=199 | 204 | 304);
    if never_has_body {
        return Framing::None;
    }
    facts.announced().unwrap_or(Framing::UntilClose)
}

/// A 1xx or 204 must not announce a body (RFC 9110 section 8.6, RFC 9112 section 6.1). A peer that does may send one,
/// and the next exchange would read it as its answer: never use such a connection again.
fn announces_impossible_body(facts: &Facts, status: u16) -> bool {
    let announces_some = !matches!(facts.announced(), None | Some(Framing::Length(0)));
    matches!(status, 100..=199 | 204) && announces_some
}

impl ResponseHead {
    /// Forgets all headers, once nobody will ask for them: an answer may be under way for long.
    pub fn forget_headers(&mut self) {
        self.headers = HeaderList::default();
    }

    /// Whether the real answer follows: any 1xx but `101 Switching Protocols` (RFC 9110 section 15.2).
    #[must_use]
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100..=199) && self.status != 101
    }
}

impl Deref for ResponseHead {
    type Target = HeaderList;

    fn deref(&self) -> &HeaderList {
        &self.headers
    }
}
