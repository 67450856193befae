//! Finds where a head ends, looking at each byte once however the bytes arrive, and refuses what no later step
//! would notice: bare LF, too many lines, too many bytes. Lines are short: their ends are found 64 bytes a step, with a
//! third of the instructions of a search for each.

use std::ops::Range;

use super::{
    block::{BLOCK_BYTES, load, load_tail},
    fields::is_token_byte,
    head_error::HeadError,
};
use crate::base::limits::{HEADERS_MAX, LEADING_EMPTY_LINES_MAX};

/// Remembers how far the search for the end of a head got. Begin each head with a fresh one and keep it while the
/// same bytes grow; a finished head resets it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    scanned: usize,
    line_start: usize,
    lines: usize,
    leading: u8,
}

/// Whose head it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

impl Progress {
    /// Where the head stands in `bytes`, its blank line included and empty lines before it excluded; `None`: it
    /// goes on. Only CR LF CR LF ends a head (RFC 9112 section 2.2 lets a recipient take a lone LF for a line end,
    /// but two recipients that differ in that see two different messages).
    pub(super) fn find_end(
        &mut self,
        bytes: &[u8],
        head_bytes_max: usize,
        side: Side,
    ) -> Result<Option<Range<usize>>, HeadError> {
        let window = &bytes[..bytes.len().min(head_bytes_max)];
        self.check_first_byte(window, side)?;
        let mut at = self.scanned;
        while at < window.len() {
            let block = load(window, at).unwrap_or_else(|| load_tail(&window[at..]));
            let mut feeds = block.equal(b'\n');
            while feeds != 0 {
                let line_end = at + feeds.trailing_zeros() as usize;
                feeds &= feeds - 1;
                if self.take_line(window, line_end, side)? {
                    let begin = self.begin();
                    *self = Progress::default();
                    return Ok(Some(begin..line_end + 1));
                }
            }
            at += BLOCK_BYTES;
        }
        self.scanned = self.scanned.max(window.len());
        if window.len() == head_bytes_max { Err(HeadError::TooLong) } else { Ok(None) }
    }

    /// Refuses a peer that does not speak HTTP at all, such as a TLS handshake, at its first byte: it may never
    /// send a line end.
    fn check_first_byte(&self, window: &[u8], side: Side) -> Result<(), HeadError> {
        let Some(&first) = window.get(self.line_start) else { return Ok(()) };
        if self.lines > 0 || first == b'\r' || first == b'\n' {
            return Ok(());
        }
        match side {
            Side::Request if !is_token_byte(first) => Err(HeadError::BadMethod),
            Side::Response if first != b'H' => Err(HeadError::BadStatusLine),
            Side::Request | Side::Response => Ok(()),
        }
    }

    /// Accounts for the line whose LF is at `line_end`; returns whether this was the blank line that ends the head.
    #[inline(always)]
    fn take_line(&mut self, window: &[u8], line_end: usize, side: Side) -> Result<bool, HeadError> {
        let line_bytes = line_end - self.line_start;
        if line_bytes == 0 || window[line_end - 1] != b'\r' {
            return Err(HeadError::BareLf);
        }
        self.line_start = line_end + 1;
        if line_bytes > 1 {
            if self.lines > HEADERS_MAX {
                return Err(HeadError::TooManyHeaders);
            }
            self.lines += 1;
            return Ok(false);
        }
        if self.lines > 0 {
            return Ok(true);
        }
        self.take_leading_empty_line(side)?;
        self.check_first_byte(window, side)?;
        Ok(false)
    }

    fn take_leading_empty_line(&mut self, side: Side) -> Result<(), HeadError> {
        self.leading += 1;
        if side == Side::Response || self.leading > LEADING_EMPTY_LINES_MAX {
            return Err(HeadError::LeadingEmptyLines);
        }
        Ok(())
    }

    /// Where the first line begins: each empty line before it is CR LF.
    fn begin(&self) -> usize {
        usize::from(self.leading) * 2
    }
}
