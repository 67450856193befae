//! Server-sent events by the rules of the HTML standard: a scanner that takes bytes as they arrive and lends out each
//! event where it lies, and a writer.

use memchr::memchr2;

use crate::base::limits::EVENT_BYTES_MAX;

/// Finds the events of a stream that arrives in spans. It copies an event only if spans cut it in two or if it has
/// several lines of data, and holds no more than [`EVENT_BYTES_MAX`] of one.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    /// The unfinished event, as far as earlier spans had it.
    carry: Vec<u8>,
    /// Several lines of data, joined.
    joined: Vec<u8>,
    lines: Lines,
    /// The first event is behind us, and with it a possible byte order mark.
    begun: bool,
    /// The event at hand was too long; its bytes are passed over.
    skipping: bool,
}

/// One event, at its blank line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// What the last `event` line says; empty: none, which readers take for `message`.
    pub name: &'a [u8],
    /// The lines of data, joined by line feeds.
    pub data: &'a [u8],
    /// The offset in the span just pushed behind the event's blank line.
    pub end: usize,
    /// There is no data line, so that a reader sees nothing: comments, a bare `event`, `id` or `retry`, or no more
    /// than a blank line.
    pub comment_only: bool,
}

/// An event is longer than [`EVENT_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl Scanner {
    /// A scanner at the start of a stream.
    #[must_use]
    pub fn new() -> Scanner {
        Scanner::default()
    }

    /// Takes the next bytes of the stream and reports each event that ends in them. The spans from one `end` to the
    /// next hold the stream byte for byte.
    ///
    /// # Errors
    /// When an event of this span is too long. The span has been taken all the same, and all its other events were
    /// reported: the scanner passes over the long one up to its blank line and goes on behind it. It says so once for
    /// each such event, when it sees that it is too long.
    pub fn push(
        &mut self,
        span: &[u8],
        mut on_event: impl FnMut(Event<'_>),
    ) -> Result<(), TooLong> {
        let mut outcome = Ok(());
        let mut start = 0;
        while start < span.len() {
            if let Some(event) = self.plain_event(span, start) {
                on_event(event);
                start = event.end;
                continue;
            }
            let Some(end) = self.lines.find_event_end(span, start) else { break };
            let event = &span[start..end];
            if self.skipping {
                self.skipping = false;
            } else if self.carry.len() + event.len() > EVENT_BYTES_MAX {
                outcome = Err(TooLong);
            } else if self.carry.is_empty() {
                on_event(read_event(event, &mut self.begun, &mut self.joined, end));
            } else {
                self.carry.extend_from_slice(event);
                on_event(read_event(&self.carry, &mut self.begun, &mut self.joined, end));
            }
            self.carry.clear();
            start = end;
        }
        self.keep(&span[start..]).and(outcome)
    }

    /// The bytes held of an event that has not ended yet. None are held of one that is passed over.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.carry.len()
    }

    /// The event that the stream's end cut short of its blank line, if it has data. The standard drops it; servers
    /// that forget their last line feed mean it. Its `end` is 0.
    pub fn pending_data(&mut self) -> Option<Event<'_>> {
        let mut begun = self.begun;
        let event = read_event(&self.carry, &mut begun, &mut self.joined, 0);
        (!event.comment_only).then_some(event)
    }

    /// The event at `start`, if it lies there in whole and as most do: one line of data, perhaps a name before it, line
    /// feeds alone. That way each of its bytes is looked at once.
    fn plain_event<'a>(&self, span: &'a [u8], start: usize) -> Option<Event<'a>> {
        let fresh = self.begun && !self.skipping && self.carry.is_empty();
        if !fresh || self.lines != Lines::default() {
            return None;
        }
        let event = span.get(start..)?;
        let mut rest = event;
        let mut name: &[u8] = b"";
        if rest.starts_with(b"event:") {
            let (line, behind) = rest.split_at(memchr2(b'\n', b'\r', rest)?);
            name = field(line, b"event")?;
            rest = behind.strip_prefix(b"\n")?;
        }
        if !rest.starts_with(b"data:") {
            return None;
        }
        let (line, behind) = rest.split_at(memchr2(b'\n', b'\r', rest)?);
        let data = field(line, b"data")?;
        let length = event.len() - behind.strip_prefix(b"\n\n")?.len();
        let end = start + length;
        (length <= EVENT_BYTES_MAX).then_some(Event { name, data, end, comment_only: false })
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), TooLong> {
        if self.skipping {
            return Ok(());
        }
        if self.carry.len() + rest.len() > EVENT_BYTES_MAX {
            self.skipping = true;
            self.carry = Vec::new();
            return Err(TooLong);
        }
        self.carry.extend_from_slice(rest);
        Ok(())
    }
}

/// Appends an event with this name and this data, a `data` line for each of its lines. A line break in the name is
/// left out.
pub fn write_event(name: Option<&str>, data: &[u8], out: &mut Vec<u8>) {
    if let Some(name) = name {
        out.extend_from_slice(b"event: ");
        out.extend(name.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')));
        out.push(b'\n');
    }
    let mut rest = data;
    loop {
        let (line, behind) = split_line(rest);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
        match behind {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    out.push(b'\n');
}

/// What of the current line is known between spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines {
    /// The line has a byte already.
    begun: bool,
    /// The last byte was a carriage return, so that a line feed at once would belong to it.
    after_return: bool,
}

impl Lines {
    /// The offset behind the first blank line at or after `at`.
    fn find_event_end(&mut self, span: &[u8], mut at: usize) -> Option<usize> {
        if self.after_return && at < span.len() {
            self.after_return = false;
            at += usize::from(span[at] == b'\n');
        }
        loop {
            let rest = span.get(at..)?;
            let length = match rest.first()? {
                b'\n' | b'\r' => 0,
                _ => memchr2(b'\n', b'\r', rest).unwrap_or_else(|| {
                    self.begun = true;
                    rest.len()
                }),
            };
            let line_break = rest.get(length)?;
            let blank = length == 0 && !self.begun;
            self.begun = false;
            at += length + 1;
            if *line_break == b'\r' {
                match span.get(at) {
                    Some(next) => at += usize::from(*next == b'\n'),
                    None => self.after_return = true,
                }
            }
            if blank {
                return Some(at);
            }
        }
    }
}

/// Reads the lines of one event, which may lack its blank line. `begun` is whether another event came before.
fn read_event<'a>(
    bytes: &'a [u8],
    begun: &mut bool,
    joined: &'a mut Vec<u8>,
    end: usize,
) -> Event<'a> {
    let mut rest = bytes;
    if !std::mem::replace(begun, true) {
        rest = rest.strip_prefix(BYTE_ORDER_MARK).unwrap_or(rest);
    }
    let mut name: &[u8] = b"";
    let mut data: Option<&[u8]> = None;
    let mut several = false;
    joined.clear();
    while !rest.is_empty() {
        let (line, behind) = split_line(rest);
        rest = behind.unwrap_or_default();
        if let Some(value) = field(line, b"data") {
            match data {
                None => data = Some(value),
                Some(first) => {
                    if !std::mem::replace(&mut several, true) {
                        joined.extend_from_slice(first);
                    }
                    joined.push(b'\n');
                    joined.extend_from_slice(value);
                }
            }
        } else if let Some(value) = field(line, b"event") {
            name = value;
        }
    }
    let comment_only = data.is_none();
    let data = if several { joined.as_slice() } else { data.unwrap_or_default() };
    Event { name, data, end, comment_only }
}

/// The value of a line, if its field is `name`.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(b""),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// The first line and, if a line break ends it, what follows.
fn split_line(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(length) = memchr2(b'\n', b'\r', bytes) else {
        return (bytes, None);
    };
    let (line, behind) = bytes.split_at(length);
    let behind = behind.strip_prefix(b"\r\n").unwrap_or_else(|| &behind[1..]);
    (line, Some(behind))
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
