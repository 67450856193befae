//! The head of a request, as a client sends it.

use std::{
    mem::MaybeUninit,
    ops::{Deref, Range},
};

use httparse::Request;

use super::{
    fields::{HeaderList, Span},
    framing::{Facts, Framing, Version},
    head_end::{Progress, Side},
    head_error::HeadError,
    head_fault::check_outcome,
    target::{Method, TargetParts},
};
use crate::base::limits::{HEAD_BYTES_DEFAULT, HEADERS_MAX};

/// What a request head may cost; the other bounds are constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of a head, its blank line and any empty lines before it included.
    pub head_bytes: usize,
}

impl Default for HeadLimits {
    fn default() -> HeadLimits {
        HeadLimits { head_bytes: HEAD_BYTES_DEFAULT }
    }
}

/// A request's head. Spans and accessors refer to the bytes that were parsed, of which it took the first `len`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Bytes of the head, with the blank line and any empty lines before it.
    pub len: usize,
    /// The method, as far as routes tell them apart.
    pub method: Method,
    /// The method as written.
    pub method_text: Span,
    /// The whole target as written.
    pub target: Span,
    /// The target's path, still percent-encoded; `*` for `OPTIONS *`.
    pub path: Span,
    /// What follows the target's `?`.
    pub query: Option<Span>,
    /// Host and port of an absolute target; it outranks the `Host` header.
    pub authority: Option<Span>,
    /// The version.
    pub version: Version,
    /// Where the body ends.
    pub framing: Framing,
    /// The client would like to send another request.
    pub keep_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expect_continue: bool,
    /// The client asks for another protocol; the `Upgrade` header says for which.
    pub upgrade: bool,
    headers: HeaderList,
}

/// Takes a request head from the front of `bytes`; `None`: there is more to come. Call it again with the same bytes
/// and those that followed, and the same `progress`: the time is linear in the bytes, not in the calls.
pub fn parse_request(
    bytes: &[u8],
    progress: &mut Progress,
    limits: &HeadLimits,
) -> Result<Option<RequestHead>, HeadError> {
    match progress.find_end(bytes, limits.head_bytes, Side::Request)? {
        Some(range) => request_from(bytes, range).map(Some),
        None => Ok(None),
    }
}

fn request_from(bytes: &[u8], range: Range<usize>) -> Result<RequestHead, HeadError> {
    let head = &bytes[..range.end];
    let message = &bytes[range];
    let mut table = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = Request::new(&mut []);
    let outcome = request.parse_with_uninit_headers(message, &mut table);
    check_outcome(outcome, message, Side::Request)?;

    let method_text = request.method.unwrap_or_default().as_bytes();
    let target = request.path.unwrap_or_default().as_bytes();
    let parts = TargetParts::of(head, method_text, target)?;
    let version = Version::from_minor(request.version);
    let mut headers = HeaderList::locate(head, request.headers)?;
    let facts = Facts::of(head, &mut headers, version)?;
    facts.check_host(version)?;
    let framing = facts.announced().unwrap_or(Framing::None);
    let has_body = !matches!(framing, Framing::None | Framing::Length(0));
    let is_http11 = version == Version::Http11;
    Ok(RequestHead {
        len: head.len(),
        method: Method::of(method_text),
        method_text: Span::locate(head, method_text),
        target: Span::locate(head, target),
        path: parts.path,
        query: parts.query,
        authority: parts.authority,
        version,
        framing,
        keep_alive: facts.keep_alive(version),
        // Both are to be ignored in HTTP/1.0 (RFC 9110 sections 10.1.1 and 7.8).
        expect_continue: is_http11 && has_body && facts.expects_continue,
        upgrade: is_http11 && facts.has_upgrade && facts.connection.upgrade,
        headers,
    })
}

impl RequestHead {
    /// The host and port that were asked for: the target's, else the `Host` header's (RFC 9112 section 3.2.2).
    #[must_use]
    pub fn host<'a>(&'a self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        match self.authority {
            Some(authority) => Some(authority.of(bytes)),
            None => self.find(bytes, "host"),
        }
    }
}

impl Deref for RequestHead {
    type Target = HeaderList;

    fn deref(&self) -> &HeaderList {
        &self.headers
    }
}
