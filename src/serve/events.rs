//! Streams of events on their way: watched where the client speaks the provider's format, translated where not.

use bytes::Bytes;

use super::digest::{Digest, Ended, Pieces};
use crate::{
    base::{fault::Kind, limits},
    chat::{delta::Delta, estimate::Weight, usage::Usage},
    dialect,
    io::net::Extent,
    provider::{Seen, Translate, Watch},
    wire::sse,
};

/// What both kinds of event digest keep.
#[derive(Default)]
struct Progress {
    content: bool,
    finished: bool,
    done: bool,
    events: usize,
    weight: Weight,
    /// Past an event too long to look at: nothing is scanned any more.
    blind: bool,
}

impl Progress {
    fn note(&mut self, seen: &Seen, comment_only: bool) {
        self.content |= seen.content;
        self.finished |= seen.finished;
        self.done |= seen.done;
        self.events += usize::from(!comment_only);
    }

    /// Whether the stream may end here. Hosts that send no end marker do say that the model finished.
    fn may_end(&self) -> Result<(), Ended> {
        if self.done || self.finished || self.blind { Ok(()) } else { Err(Ended::early()) }
    }
}

/// Events of the client's own format: slices of what was read, whole events only, none changed.
pub struct Watched {
    scanner: sse::Scanner,
    watch: Box<dyn Watch>,
    /// The beginning of an event whose end has not come.
    tail: Pieces,
    has_end: bool,
    progress: Progress,
}

impl Watched {
    /// Watches with `watch`. `has_end`: the format says itself when it is complete.
    pub fn new(watch: Box<dyn Watch>, has_end: bool) -> Watched {
        Watched {
            scanner: sse::Scanner::new(),
            watch,
            tail: Pieces::new(),
            has_end,
            progress: Progress::default(),
        }
    }
}

impl Digest for Watched {
    fn piece(&mut self, piece: Bytes, out: &mut Pieces) -> Result<(), Ended> {
        if self.progress.blind {
            out.push(piece);
            return Ok(());
        }
        let mut passed = 0; // bytes of the piece that are dealt with
        let mut end = 0; // bytes of the piece that belong to events seen and not withheld
        let (mut error, mut broken) = (None, false);
        let Watched { scanner, watch, tail, progress, has_end, .. } = self;
        let scanned = scanner.push(&piece, |event| {
            let seen = match event.comment_only {
                true => Seen::default(),
                false => watch.event(event.name, event.data),
            };
            progress.note(&seen, event.comment_only);
            // In mid-content it is passed on: the client may make sense of it.
            broken |= seen.unreadable && *has_end && !progress.content;
            if seen.content && !progress.finished && brings_text(event.name) {
                progress.weight.event(event.data.len());
            }
            if seen.withhold {
                flush(&piece, passed, end, tail, out);
                tail.clear();
                passed = event.end;
            }
            end = event.end;
            error = error.take().or(seen.error);
        });
        if scanned.is_err() {
            // Too long to hold: on a same-format stream it passes, and nothing after it is looked at.
            progress.blind = true;
            progress.content = true;
            out.append(tail);
            out.push(piece.slice(passed..));
            return Ok(());
        }
        flush(&piece, passed, end, tail, out);
        if end < piece.len() {
            tail.push(piece.slice(end..));
        }
        match error {
            Some(error) => Err(Ended::by_event(error, true)),
            None if broken => {
                let message = "an event of the upstream's stream is not JSON".to_owned();
                Err(Ended::broken(Kind::Protocol, message))
            }
            None => Ok(()),
        }
    }

    fn end(&mut self, out: &mut Pieces) -> Result<(), Ended> {
        let Watched { scanner, watch, progress, .. } = self;
        let mut tells_the_end = false;
        if let Some(event) = scanner.pending_data() {
            let seen = watch.event(event.name, event.data);
            tells_the_end = seen.done || seen.finished && !progress.finished;
            progress.note(&seen, event.comment_only);
        }
        if !self.has_end {
            out.append(&mut self.tail);
            return Ok(());
        }
        self.progress.may_end()?;
        // What is no whole event is withheld: some clients would take it for one. One that lacks only its end gets it.
        if tells_the_end {
            let line_ended = self.tail.last().is_some_and(|piece| piece.ends_with(b"\n"));
            out.append(&mut self.tail);
            out.push(Bytes::from_static(if line_ended { b"\n" } else { b"\n\n" }));
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.progress.done
    }

    fn has_content(&self) -> bool {
        self.progress.content
    }

    fn events(&self) -> usize {
        self.progress.events
    }

    fn usage(&self) -> Option<Usage> {
        self.watch.usage()
    }

    fn output_estimate(&self) -> u64 {
        self.progress.weight.tokens()
    }

    fn model(&mut self) -> Option<String> {
        self.watch.model().map(str::to_owned)
    }

    fn extents(&self) -> [Extent; 2] {
        [Extent::of(self), Extent::of(&*self.watch)]
    }
}

/// Whether events of this name bring text, where events have names: those around the text would be taken for it.
fn brings_text(name: &[u8]) -> bool {
    name.is_empty() || (name.ends_with(b"delta") && name != b"message_delta")
}

/// Passes `piece[from..to]`, after the beginning of its first event that came before.
fn flush(piece: &Bytes, from: usize, to: usize, tail: &mut Pieces, out: &mut Pieces) {
    if to > from {
        out.append(tail);
        out.push(piece.slice(from..to));
    }
}

/// Events of another format, written anew in the client's dialect.
pub struct Translated {
    scanner: sse::Scanner,
    translate: Box<dyn Translate>,
    writer: Box<dyn dialect::Writer>,
    deltas: Vec<Delta>,
    progress: Progress,
}

impl Translated {
    /// From `translate`'s format to `writer`'s.
    pub fn new(translate: Box<dyn Translate>, writer: Box<dyn dialect::Writer>) -> Translated {
        Translated {
            scanner: sse::Scanner::new(),
            translate,
            writer,
            deltas: Vec::new(),
            progress: Progress::default(),
        }
    }
}

impl Digest for Translated {
    fn piece(&mut self, piece: Bytes, out: &mut Pieces) -> Result<(), Ended> {
        let mut written = Vec::new();
        let mut ended = None;
        let Translated { scanner, translate, writer, deltas, progress } = self;
        let scanned = scanner.push(&piece, |event| {
            if ended.is_some() || event.comment_only {
                return;
            }
            deltas.clear();
            match translate.event(event.name, event.data, deltas) {
                Ok(seen) => {
                    progress.note(&seen, false);
                    for delta in &*deltas {
                        progress.weight.piece(&delta.piece);
                        writer.delta(delta, &mut written);
                    }
                    ended = seen.error.map(|error| Ended::by_event(error, false));
                }
                Err(message) => ended = Some(Ended::broken(Kind::Protocol, message)),
            }
        });
        if !written.is_empty() {
            out.push(Bytes::from(written));
        }
        if scanned.is_err() {
            let message =
                format!("an event of the upstream is over {} bytes", limits::EVENT_BYTES_MAX);
            return Err(Ended::broken(Kind::Protocol, message));
        }
        ended.map_or(Ok(()), Err)
    }

    fn end(&mut self, out: &mut Pieces) -> Result<(), Ended> {
        self.progress.may_end()?;
        let mut written = Vec::new();
        self.writer.finish(&mut written);
        out.push(Bytes::from(written));
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.progress.done
    }

    fn has_content(&self) -> bool {
        self.progress.content
    }

    fn events(&self) -> usize {
        self.progress.events
    }

    fn usage(&self) -> Option<Usage> {
        self.translate.usage()
    }

    fn output_estimate(&self) -> u64 {
        self.progress.weight.tokens()
    }

    fn model(&mut self) -> Option<String> {
        self.translate.model().map(str::to_owned)
    }
}
