//! Header fields as ranges of a head's bytes: looking them up, and telling which of them end at this hop.

use std::ops::Range;

use httparse::Header;
use smallvec::SmallVec;

use super::head_error::HeadError;
use crate::base::limits::{CONNECTION_NAMES_MAX, HEADER_NAME_BYTES_MAX};

/// A range of a head's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// The first byte's index.
    pub start: u32,
    /// The index after the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of this span; empty if `head` is not the head that it was taken from.
    #[must_use]
    pub fn of(self, head: &[u8]) -> &[u8] {
        head.get(self.range()).unwrap_or_default()
    }

    /// The same as indexes.
    #[must_use]
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// How many bytes it spans.
    pub(super) fn len(self) -> usize {
        (self.end as usize).saturating_sub(self.start as usize)
    }

    /// Where `part`, a slice of `whole`, stands in it.
    pub(super) fn locate(whole: &[u8], part: &[u8]) -> Span {
        let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        Span::new(start, start + part.len())
    }

    /// Heads are far shorter than 4 GiB, so the indexes always fit.
    pub(super) fn new(start: usize, end: usize) -> Span {
        let index = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { start: index(start), end: index(end) }
    }
}

/// CR LF: nothing else ends a line of a head.
const LINE_END_BYTES: u32 = 2;

/// One header field, its value without the blanks around it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeaderSpan {
    pub(super) name: Span,
    pub(super) value: Span,
}

impl HeaderSpan {
    /// From the name to the end of the value. An empty value may lie anywhere: the line then ends with the name, and is
    /// none.
    fn line(self) -> Span {
        let end = if self.value.end > self.value.start { self.value.end } else { 0 };
        Span { start: self.name.start, end }
    }
}

/// The headers of a head, in order; `head` is always the bytes that the head was parsed from. Heads of both kinds
/// dereference to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderList {
    pub(super) spans: Vec<HeaderSpan>,
    /// The names listed in `Connection`, options such as `close` aside.
    pub(super) listed: SmallVec<[Span; 2]>,
    /// A bit for each name's [`mark`]: most look-ups are for headers that are not there, and end here.
    marks: u64,
}

/// One of 64 bits for a header name in any case.
fn mark(name: &[u8]) -> u64 {
    let end = |byte: Option<&u8>| usize::from(byte.copied().unwrap_or_default() | 0x20);
    let place = name.len() + 7 * end(name.first()) + 13 * end(name.last());
    1 << (place % 64)
}

impl HeaderList {
    fn may_have(&self, name: &str) -> bool {
        self.marks & mark(name.as_bytes()) != 0
    }

    /// All headers in order, names as written, values without the blanks around them.
    pub fn headers<'a>(
        &'a self,
        head: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.spans.iter().map(|span| (span.name.of(head), span.value.of(head)))
    }

    /// The first value of that name, in any case.
    #[must_use]
    pub fn find<'a>(&self, head: &'a [u8], name: &str) -> Option<&'a [u8]> {
        self.find_span(head, name).map(|span| span.of(head))
    }

    /// Where the first value of that name stands, in any case.
    #[must_use]
    pub fn find_span(&self, head: &[u8], name: &str) -> Option<Span> {
        if !self.may_have(name) {
            return None;
        }
        let is_it = |span: &&HeaderSpan| {
            span.name.len() == name.len() && is_name(span.name.of(head), name.as_bytes())
        };
        self.spans.iter().find(is_it).map(|span| span.value)
    }

    /// The values of all headers of that name, in any case.
    pub fn all<'a>(
        &'a self,
        head: &'a [u8],
        name: &'a str,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.headers(head)
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The headers that may be passed on: not those that end at this hop, by their nature or because `Connection`
    /// lists them (RFC 9110 section 7.6.1). `Content-Length` is among them, but the next head's writer sets that.
    pub fn end_to_end<'a>(
        &'a self,
        head: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        self.headers(head).filter(move |(name, _)| {
            let is_listed =
                || self.listed_in_connection(head).any(|listed| listed.eq_ignore_ascii_case(name));
            !is_hop_by_hop(name) && !is_listed()
        })
    }

    /// The same, as whole lines as they came: what a parser has let through can be passed on as it is. Lines that stand
    /// one behind the other come as one run, with the line ends between them but not the last one. `keep` says which of
    /// the names to pass.
    pub fn end_to_end_runs(
        &self,
        head: &[u8],
        mut keep: impl FnMut(&[u8]) -> bool,
        mut on_run: impl FnMut(&[u8]),
    ) {
        let mut run = Span::default();
        for span in &self.spans {
            let (name, line) = (span.name.of(head), span.line());
            let passes = line.len() > 0
                && keep(name)
                && !is_hop_by_hop(name)
                && !self.listed_in_connection(head).any(|listed| listed.eq_ignore_ascii_case(name));
            if passes && run.len() > 0 && line.start == run.end + LINE_END_BYTES {
                run.end = line.end;
                continue;
            }
            if run.len() > 0 {
                on_run(run.of(head));
            }
            run = if passes { line } else { Span::default() };
        }
        if run.len() > 0 {
            on_run(run.of(head));
        }
    }

    /// The header names that `Connection` lists, options such as `close` aside.
    pub fn listed_in_connection<'a>(
        &'a self,
        head: &'a [u8],
    ) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.listed.iter().map(move |name| name.of(head))
    }

    /// An empty list with room for so many fields. The allocator serves powers of two at a quarter of the cost of other
    /// sizes.
    pub(super) fn with_room(fields: usize) -> HeaderList {
        let spans = Vec::with_capacity(fields.next_power_of_two());
        HeaderList { spans, ..HeaderList::default() }
    }

    /// Adds a field whose name and value are slices of `head`.
    #[inline(always)]
    pub(super) fn push(&mut self, head: &[u8], name: &[u8], value: &[u8]) {
        self.marks |= mark(name);
        self.spans
            .push(HeaderSpan { name: Span::locate(head, name), value: Span::locate(head, value) });
    }

    /// Notes where the tokenizer's findings, slices of `head`, stand in it.
    pub(super) fn locate(head: &[u8], found: &[Header<'_>]) -> Result<HeaderList, HeadError> {
        let mut headers = HeaderList::with_room(found.len());
        for Header { name, value } in found {
            if name.len() > HEADER_NAME_BYTES_MAX {
                return Err(HeadError::NameTooLong);
            }
            headers.push(head, name.as_bytes(), value);
        }
        Ok(headers)
    }
}

/// What the `Connection` fields of a head ask for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConnectionOptions {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
}

impl ConnectionOptions {
    /// Reads one `Connection` field (RFC 9110 section 7.6.1); a head may have several.
    pub(super) fn read(
        &mut self,
        head: &[u8],
        value: &[u8],
        listed: &mut SmallVec<[Span; 2]>,
    ) -> Result<(), HeadError> {
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if !option.is_empty() {
                if listed.len() == CONNECTION_NAMES_MAX {
                    return Err(HeadError::TooManyConnectionNames);
                }
                listed.push(Span::locate(head, option));
            }
        }
        Ok(())
    }
}

/// Whether two names are the same in any case. Most are written in lower case, which is a quarter of the work.
#[inline]
pub(super) fn is_name(found: &[u8], known: &[u8]) -> bool {
    found == known || found.eq_ignore_ascii_case(known)
}

/// Whether a field of that name, in any case, always ends at this hop, whatever `Connection` lists. `Trailer` is
/// among them because trailers are not passed on.
#[must_use]
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    let hop_by_hop: &[&str] = match name.len() {
        2 => &["te"],
        7 => &["trailer", "upgrade"],
        10 => &["connection", "keep-alive"],
        14 => &["http2-settings"],
        16 => &["proxy-connection"],
        17 => &["transfer-encoding"],
        18 => &["proxy-authenticate"],
        19 => &["proxy-authorization"],
        _ => &[],
    };
    hop_by_hop.iter().any(|known| is_name(name, known.as_bytes()))
}

/// Whether a byte may stand in a method or a header name: `tchar` of RFC 9110 section 5.6.2.
pub(super) fn is_token_byte(byte: u8) -> bool {
    IS_TOKEN_BYTE[usize::from(byte)]
}

/// Whether a byte may stand in a header value: visible, blank, tab, or beyond ASCII (RFC 9110 section 5.5).
pub(super) fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' || byte == b'\t') && byte != 0x7f
}

const IS_TOKEN_BYTE: [bool; 256] =
    table(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/// True for these bytes.
pub(super) const fn table(bytes: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < bytes.len() {
        table[bytes[at] as usize] = true;
        at += 1;
    }
    table
}
