//! An answer's head that is written as nearly all are: read in one pass, which takes half the instructions of the full
//! tokenizer. It takes less than that does, and what it takes it reads the same; the rest is left to the tokenizer.

use super::{
    block::{is_visible_text, line_length, name_length},
    fields::HeaderList,
};
use crate::base::limits::{HEADER_NAME_BYTES_MAX, HEADERS_MAX};

/// The status and the fields of a whole head of which [`super::head_end`] has found the end; `None`: something about it
/// is unusual, or wrong. Usual are `HTTP/1.1`, a status and a reason, visible ASCII alone, names of letters, digits and
/// hyphens, and values with no more than one blank before them and none behind.
pub(super) fn plain_answer(head: &[u8]) -> Option<(u16, HeaderList)> {
    if !is_visible_text(head) {
        return None;
    }
    let (first, mut rest) = split_line(head)?;
    let status = status_of(first)?;
    let mut headers = HeaderList::with_room(FIELDS_USUAL);
    while rest != b"\r\n" {
        let (name, behind) = rest.split_at(name_length(rest));
        let behind = behind.strip_prefix(b":")?;
        let (value, behind) = split_line(behind.strip_prefix(b" ").unwrap_or(behind))?;
        let is_trimmed = !matches!(value, [] | [b' ', ..] | [.., b' ']);
        let fits = (1..=HEADER_NAME_BYTES_MAX).contains(&name.len());
        if !is_trimmed || !fits || headers.spans.len() == HEADERS_MAX {
            return None;
        }
        headers.push(head, name, value);
        rest = behind;
    }
    Some((status, headers))
}

/// A line and what follows its end.
#[inline(always)]
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (line, behind) = text.split_at(line_length(text));
    Some((line, behind.strip_prefix(b"\r\n")?))
}

/// The status of a line such as `HTTP/1.1 200 OK`.
fn status_of(line: &[u8]) -> Option<u16> {
    match line.strip_prefix(b"HTTP/1.1 ")? {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', _, ..] => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            Some(digit(a) * 100 + digit(b) * 10 + digit(c))
        }
        _ => None,
    }
}

/// Room for the fields of most answers.
const FIELDS_USUAL: usize = 16;

#[cfg(test)]
mod tests {
    use httparse::{EMPTY_HEADER, Response};

    use super::*;

    /// What the full tokenizer makes of a head: status, names and values.
    type Read = (u16, Vec<(Vec<u8>, Vec<u8>)>);

    fn tokenized(head: &[u8]) -> Option<Read> {
        let mut table = [EMPTY_HEADER; HEADERS_MAX];
        let mut response = Response::new(&mut table);
        let outcome = response.parse(head).ok()?;
        (outcome.is_complete() && outcome.unwrap() == head.len()).then_some(())?;
        (response.version == Some(1)).then_some(())?;
        let pair = |header: &httparse::Header<'_>| (header.name.into(), header.value.to_vec());
        Some((response.code?, response.headers.iter().map(pair).collect()))
    }

    fn plain(head: &[u8]) -> Option<Read> {
        let (status, headers) = plain_answer(head)?;
        let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
        Some((status, headers.headers(head).map(owned).collect()))
    }

    const HEAD: &[u8] =
        b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type:text/plain\r\n\
        x-request-id: req_1\r\nserver: a b  c\r\ncontent-length: 12\r\n\r\n";

    #[test]
    fn a_usual_head_is_read_as_the_tokenizer_reads_it() {
        let read = plain(HEAD).expect("a usual one");
        assert_eq!(read.1.len(), 5);
        assert_eq!(Some(read), tokenized(HEAD));
    }

    /// With any byte at any place, and with any byte put in or taken out anywhere.
    #[test]
    fn whatever_is_read_the_tokenizer_reads_alike() {
        let mut taken = 0;
        for place in 0..HEAD.len() {
            for byte in 0..=255 {
                let mut changed = HEAD.to_vec();
                changed[place] = byte;
                let put_in = [&HEAD[..place], &[byte], &HEAD[place..]].concat();
                let taken_out = [&HEAD[..place], &HEAD[place + 1..]].concat();
                for head in [changed, put_in, taken_out] {
                    // Nothing else comes here: a bare LF was refused, and the end is where it was found.
                    let is_bare =
                        |at: usize| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r');
                    let end = memchr::memmem::find(&head, b"\r\n\r\n").map(|at| at + 4);
                    if (0..head.len()).any(is_bare) || end != Some(head.len()) {
                        continue;
                    }
                    if let Some(read) = plain(&head) {
                        taken += 1;
                        assert_eq!(Some(read), tokenized(&head), "{}", head.escape_ascii());
                    }
                }
            }
        }
        assert!(taken > 30_000, "{taken}");
    }

    #[test]
    fn the_unusual_is_left_to_the_tokenizer() {
        let unusual = [
            "HTTP/1.0 200 OK\r\na: b\r\n\r\n",
            "HTTP/1.1 200\r\na: b\r\n\r\n",
            "HTTP/1.1 200 \r\na: b\r\n\r\n",
            "HTTP/1.1 99 OK\r\na: b\r\n\r\n",
            "HTTP/1.1 2000 OK\r\na: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na:\r\n\r\n",
            "HTTP/1.1 200 OK\r\na:  b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b \r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\tc\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: é\r\n\r\n",
            "HTTP/1.1 200 OK\r\na : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\na_b: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\rc: d\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\x7f\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\r\n",
            "",
        ];
        for head in unusual {
            assert_eq!(plain(head.as_bytes()), None, "{head:?}");
        }
        let many = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
        assert!(plain(many(HEADERS_MAX).as_bytes()).is_some());
        assert_eq!(plain(many(HEADERS_MAX + 1).as_bytes()), None);
        let long = |length: usize| format!("HTTP/1.1 200 OK\r\n{}: b\r\n\r\n", "a".repeat(length));
        assert!(plain(long(HEADER_NAME_BYTES_MAX).as_bytes()).is_some());
        assert_eq!(plain(long(HEADER_NAME_BYTES_MAX + 1).as_bytes()), None);
    }
}
