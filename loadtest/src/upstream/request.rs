//! As much of a request as the fast upstream needs: its path, its length, and what of the body changes the answer.
//! Pure.

use std::ops::Range;

use memchr::{memchr, memmem};

/// Where a complete request ends, and what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Bytes of head and body.
    pub bytes: usize,
    /// The path, with its query.
    pub path: Range<usize>,
    /// The body.
    pub body: Range<usize>,
    /// The client wants the connection closed.
    pub close: bool,
}

/// How a search for a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is more to come.
    Part,
    /// A whole request.
    Whole(Seen),
    /// Something that this reader does not take.
    Refused,
}

/// Looks at the front of `bytes`.
#[must_use]
pub fn find(bytes: &[u8]) -> Found {
    let Some(head_end) = memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4) else {
        return if bytes.len() > HEAD_BYTES_MAX { Found::Refused } else { Found::Part };
    };
    let head = &bytes[..head_end];
    let Some(path) = path(head) else { return Found::Refused };
    let (mut length, mut close) = (0, false);
    let mut rest = head;
    while let Some(end) = memchr(b'\n', rest) {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        // Most lines are told by their first byte.
        match line.first() {
            Some(b'c' | b'C') => {
                if let Some(value) = field(line, b"content-length") {
                    let value = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    match value {
                        Some(value) if value <= BODY_BYTES_MAX => length = value,
                        _ => return Found::Refused,
                    }
                } else if let Some(value) = field(line, b"connection") {
                    close = value.eq_ignore_ascii_case(b"close");
                }
            }
            Some(b't' | b'T') if field(line, b"transfer-encoding").is_some() => {
                return Found::Refused;
            }
            _ => {}
        }
    }
    let end = head_end + length;
    if bytes.len() < end {
        return Found::Part;
    }
    Found::Whole(Seen { bytes: end, path, body: head_end..end, close })
}

fn path(head: &[u8]) -> Option<Range<usize>> {
    let start = memchr(b' ', head)? + 1;
    let length = memchr(b' ', head.get(start..)?)?;
    Some(start..start + length)
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (own, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    own.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// Whether a body says that this key is true.
#[must_use]
pub fn says_true(body: &[u8], key: &[u8]) -> bool {
    memmem::find(body, key).is_some_and(|at| {
        let value = body[at + key.len()..].trim_ascii_start();
        value.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"true"))
    })
}

/// A head beyond this is none.
const HEAD_BYTES_MAX: usize = 256 * 1024;
/// A longer body is refused.
const BODY_BYTES_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_when_they_are_whole() {
        let wire = b"POST /v1/x?y HTTP/1.1\r\nhost: a\r\nContent-Length: 3\r\n\r\nabcPOST";
        let whole = wire.len() - 4;
        for length in 0..whole {
            assert_eq!(find(&wire[..length]), Found::Part, "{length}");
        }
        let Found::Whole(seen) = find(wire) else { panic!("not found") };
        assert_eq!((seen.bytes, seen.close), (whole, false));
        assert_eq!((&wire[seen.path], &wire[seen.body]), (&b"/v1/x?y"[..], &b"abc"[..]));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for wire in [
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert_eq!(find(wire.as_bytes()), Found::Refused, "{wire}");
        }
        let close = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
        assert!(matches!(find(close), Found::Whole(Seen { close: true, .. })));
    }

    #[test]
    fn flags_of_a_body_are_read_without_parsing_it() {
        for (body, truth) in [
            (r#"{"stream":true}"#, true),
            (r#"{"stream" : true}"#, true),
            (r#"{"stream":false}"#, false),
            (r#"{"stream_options":{}}"#, false),
            ("{}", false),
        ] {
            assert_eq!(says_true(body.as_bytes(), br#""stream""#), truth, "{body}");
        }
    }
}
