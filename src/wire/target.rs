//! The method and the target of a request: which form the target has, and where its path and query are.

use memchr::{memchr, memmem};

use super::{fields::Span, framing::is_host, head_error::HeadError};

/// What a request wants done, as far as routes tell methods apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// Any other token.
    Other,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110 section 9.1): `get` is not `GET`.
    #[must_use]
    pub fn of(text: &[u8]) -> Method {
        match text {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"PATCH" => Method::Patch,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }
}

/// The parts of a target.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TargetParts {
    pub(super) path: Span,
    pub(super) query: Option<Span>,
    pub(super) authority: Option<Span>,
}

impl TargetParts {
    /// Takes `target`, a slice of `head`, apart by the four forms of RFC 9112 section 3.2.
    pub(super) fn of(head: &[u8], method: &[u8], target: &[u8]) -> Result<TargetParts, HeadError> {
        if !target.iter().all(|&byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(HeadError::BadTarget);
        }
        match target {
            _ if method == b"CONNECT" => Err(HeadError::AuthorityForm),
            [b'/', ..] => Ok(origin_form(head, target, None)),
            b"*" if method == b"OPTIONS" => Ok(origin_form(head, target, None)),
            _ => absolute_form(head, target),
        }
    }
}

/// `/path?query`
fn origin_form(head: &[u8], target: &[u8], authority: Option<&[u8]>) -> TargetParts {
    let (path, query) = match memchr(b'?', target) {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    };
    TargetParts {
        path: Span::locate(head, path),
        query: query.map(|query| Span::locate(head, query)),
        authority: authority.map(|authority| Span::locate(head, authority)),
    }
}

/// `http://host:port/path?query`, as sent to proxies; a server must take it too.
fn absolute_form(head: &[u8], target: &[u8]) -> Result<TargetParts, HeadError> {
    let Some(colon) = memmem::find(target, b"://") else {
        let is_host_and_port = memchr(b':', target).is_some() && is_host(target);
        return Err(if is_host_and_port { HeadError::AuthorityForm } else { HeadError::BadTarget });
    };
    let (scheme, rest) = (&target[..colon], &target[colon + 3..]);
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(HeadError::BadTarget);
    }
    let authority_bytes =
        rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_bytes);
    // User information, which `is_host` does not let through, hides the real host from people (RFC 9110 4.2.4).
    if authority.is_empty() || !is_host(authority) {
        return Err(HeadError::BadTarget);
    }
    let mut parts = origin_form(head, path, Some(authority));
    if parts.path.of(head).is_empty() {
        // An empty path means `/` (RFC 9110 section 4.2.3); the last slash of `://` is one to point at.
        parts.path = Span::locate(head, &target[colon + 2..colon + 3]);
    }
    Ok(parts)
}
