//! What is held back of a stream of events, so that what it says is judged before the client has it: all of it up to a
//! bound, or the last of its text, or no more than its end mark.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    check::{Finding, Subject, is_early, judge},
    delta::{self, Part},
    redact::{self, Find},
    text,
};
use crate::{
    base::limits,
    config::guardrail::{Guardrail, OnStream, Redaction},
    provider::Endpoint,
    wire::sse,
};

/// The events that are held back, and all that was said.
pub struct Holding {
    endpoint: Endpoint,
    guardrails: Vec<Arc<Guardrail>>,
    /// The strictest of what the guardrails ask for; what was to be held as a whole and became too much is held by
    /// its last text from then on.
    mode: OnStream,
    redacts: bool,
    queue: VecDeque<Held>,
    bytes: usize,
    channels: Vec<Channel>,
    /// Events let go.
    released: usize,
    /// Content was among them.
    content_released: bool,
    /// Patterns that were found.
    found: Vec<String>,
}

/// One event.
struct Held {
    bytes: Bytes,
    /// What is needed to write it anew; only where something may be rewritten.
    name_and_data: Option<(Vec<u8>, Vec<u8>)>,
    /// How much text it brings, and to which alternative.
    parts: SmallVec<[(usize, usize); 1]>,
    /// It is content, or comes after some.
    content: bool,
    is_end: bool,
}

/// One alternative's text.
#[derive(Default)]
struct Channel {
    /// All of it, up to the bound.
    said: String,
    too_long: bool,
    /// The end of what was let go: context for what is looked for.
    behind: String,
    /// What is held.
    pending: String,
}

/// A guardrail that denies what was said so far.
#[derive(Debug)]
pub struct Denied {
    /// The guardrail.
    pub guardrail: Arc<Guardrail>,
    /// Its check.
    pub check: usize,
    /// What that found.
    pub finding: Finding,
}

impl Holding {
    /// For the guardrails of answers that somebody waits for.
    #[must_use]
    pub fn new(endpoint: Endpoint, guardrails: Vec<Arc<Guardrail>>) -> Holding {
        let mode = guardrails.iter().map(|one| one.stream).max().unwrap_or(OnStream::End);
        let redacts = guardrails.iter().any(|one| one.checks.iter().any(|c| c.test.redacts()));
        Holding {
            endpoint,
            guardrails,
            mode,
            redacts,
            queue: VecDeque::new(),
            bytes: 0,
            channels: Vec::new(),
            released: 0,
            content_released: false,
            found: Vec::new(),
        }
    }

    /// Takes an event of the client's format. `content`: it is content, or comes after some.
    pub fn take(&mut self, bytes: Bytes, name: &[u8], data: &[u8], content: bool) {
        let mut parts: SmallVec<[(usize, usize); 1]> = SmallVec::new();
        for Part { channel, text } in delta::parts(self.endpoint, data) {
            let at = channel.min(limits::STREAM_CHOICES_MAX - 1);
            while self.channels.len() <= at {
                self.channels.push(Channel::default());
            }
            self.channels[at].hear(&text, self.mode > OnStream::End);
            parts.push((at, text.len()));
        }
        let is_end = delta::is_end(self.endpoint, name, data);
        self.bytes += bytes.len();
        let name_and_data = self.redacts.then(|| (name.to_vec(), data.to_vec()));
        self.queue.push_back(Held { bytes, name_and_data, parts, content, is_end });
    }

    /// Lets go what may go before the end has come.
    ///
    /// # Errors
    /// What was said so far is denied.
    pub fn release(&mut self, out: &mut Vec<Bytes>) -> Result<(), Box<Denied>> {
        if self.mode == OnStream::Hold && self.bytes > limits::STREAM_HELD_BYTES_MAX {
            self.mode = OnStream::Window;
        }
        match self.mode {
            OnStream::Hold => Ok(()),
            OnStream::End => {
                while self.queue.front().is_some_and(|held| !held.is_end) {
                    self.let_go(out, &mut []);
                }
                Ok(())
            }
            OnStream::Window => {
                let window = match self.bytes > limits::STREAM_HELD_BYTES_MAX {
                    true => 0, // little text in many events: that is no reason to hold them all
                    false => limits::STREAM_WINDOW_BYTES,
                };
                let grown = |channel: &Channel| channel.pending.len() > window + window / 2;
                let silent = self.channels.iter().all(|channel| channel.pending.is_empty());
                if window > 0 && !silent && !self.channels.iter().any(grown) {
                    return Ok(());
                }
                self.look()?;
                self.walk(window, out);
                Ok(())
            }
        }
    }

    /// Judges what is held, in its context, by what need not wait for the end.
    fn look(&self) -> Result<(), Box<Denied>> {
        for guardrail in self.guardrails.iter().filter(|one| one.deny && one.stream > OnStream::End)
        {
            let early = guardrail.checks.iter().enumerate().filter(|(_, check)| is_early(check));
            for (at, check) in early {
                for channel in &self.channels {
                    let text = [channel.behind.as_str(), &channel.pending].concat();
                    let subject = Subject { text: &text, ..Subject::default() };
                    let finding = judge(check, &subject);
                    if !finding.passes(check.fail_on_error) {
                        let guardrail = Arc::clone(guardrail);
                        return Err(Box::new(Denied { guardrail, check: at, finding }));
                    }
                }
            }
        }
        Ok(())
    }

    /// Lets go from the front what has more than `window` of its alternative's text behind it.
    fn walk(&mut self, window: usize, out: &mut Vec<Bytes>) {
        let guardrails = self.guardrails.clone();
        let patterns = || patterns(&guardrails);
        let texts: Vec<String> = self.channels.iter().map(|one| one.pending.clone()).collect();
        let finds: Vec<Vec<Find<'_>>> =
            texts.iter().map(|text| redact::finds(patterns(), text)).collect();
        let mut safe: Vec<usize> = texts.iter().map(|t| t.len().saturating_sub(window)).collect();
        // What is found is replaced as a whole: it is let go as a whole too.
        let (count, taken) = loop {
            let (count, taken) = self.fitting(&safe);
            let mut cut = false;
            for (at, end) in taken.iter().enumerate() {
                let across = |find: &&Find<'_>| find.place.start < *end && find.place.end > *end;
                if let Some(find) = finds.get(at).and_then(|all| all.iter().find(across)) {
                    safe[at] = find.place.start;
                    cut = true;
                }
            }
            if !cut {
                break (count, taken);
            }
        };
        let mut news: Vec<Option<String>> = Vec::new();
        for (at, end) in taken.iter().enumerate() {
            let found = finds.get(at).map(Vec::as_slice).unwrap_or_default();
            let any = found.iter().any(|find| find.place.end <= *end);
            self.found.extend(
                found.iter().filter(|f| f.place.end <= *end).map(|find| find.name.to_owned()),
            );
            news.push(any.then(|| redact::replaced(&texts[at], found, *end)));
        }
        for _ in 0..count {
            self.let_go(out, &mut news);
        }
        for (channel, end) in self.channels.iter_mut().zip(&taken) {
            channel.pass(*end);
        }
    }

    /// How many events may go if so much of each text may, and how much of each goes with them.
    fn fitting(&self, safe: &[usize]) -> (usize, Vec<usize>) {
        let mut taken = vec![0; safe.len()];
        let mut count = 0;
        for held in &self.queue {
            let mut next = taken.clone();
            for (channel, length) in &held.parts {
                next[*channel] += length;
            }
            if held.is_end || next.iter().zip(safe).any(|(next, safe)| next > safe) {
                break;
            }
            taken = next;
            count += 1;
        }
        (count, taken)
    }

    /// Lets the first event go; the first of each alternative brings its new text, where there is one, and those after
    /// it bring none.
    fn let_go(&mut self, out: &mut Vec<Bytes>, news: &mut [Option<String>]) {
        let Some(held) = self.queue.pop_front() else { return };
        self.bytes -= held.bytes.len();
        self.released += 1;
        self.content_released |= held.content;
        out.push(self.written(held, news));
    }

    fn written(&self, held: Held, news: &mut [Option<String>]) -> Bytes {
        let Some((name, data)) = held.name_and_data else { return held.bytes };
        let changed =
            match held.parts.iter().any(|(at, _)| news.get(*at).is_some_and(Option::is_some)) {
                true => delta::with_texts(self.endpoint, &data, &mut |channel| {
                    let slot =
                        news.get_mut(channel.min(limits::STREAM_CHOICES_MAX - 1))?.as_mut()?;
                    Some(std::mem::take(slot))
                }),
                false => delta::with_whole_texts(self.endpoint, &data, &mut |text| {
                    let finds = redact::finds(patterns(&self.guardrails), text);
                    (!finds.is_empty()).then(|| redact::replaced(text, &finds, text.len()))
                }),
            };
        let Some(changed) = changed else { return held.bytes };
        let mut event = Vec::with_capacity(changed.len() + 32);
        let name = std::str::from_utf8(&name).ok().filter(|name| !name.is_empty());
        sse::write_event(name, &changed, &mut event);
        Bytes::from(event)
    }

    /// Lets go all that is left, with `last` before the end mark.
    pub fn finish(&mut self, last: Option<Bytes>, out: &mut Vec<Bytes>) {
        // All of the text may go; the end mark brings none.
        self.walk(0, out);
        let mut last = last;
        while let Some(held) = self.queue.front() {
            if held.is_end {
                out.extend(last.take());
            }
            self.let_go(out, &mut []);
        }
        out.extend(last);
    }

    /// All that was said, alternatives joined by line feeds; the second: more was said than is judged.
    #[must_use]
    pub fn text(&self) -> (String, bool) {
        let texts: Vec<&str> =
            self.channels.iter().map(|one| one.said.as_str()).filter(|t| !t.is_empty()).collect();
        (texts.join("\n"), self.channels.iter().any(|channel| channel.too_long))
    }

    /// The patterns that were found and replaced so far.
    #[must_use]
    pub fn found(&self) -> &[String] {
        &self.found
    }

    /// Events let go.
    #[must_use]
    pub fn released(&self) -> usize {
        self.released
    }

    /// Whether content was let go.
    #[must_use]
    pub fn has_released_content(&self) -> bool {
        self.content_released
    }

    /// Bytes held.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// The guardrails that it was made for.
    #[must_use]
    pub fn guardrails(&self) -> &[Arc<Guardrail>] {
        &self.guardrails
    }

    /// Portkey's word for what was asked.
    #[must_use]
    pub fn request_type(&self) -> &'static str {
        text::request_type(self.endpoint).unwrap_or_default()
    }
}

fn patterns(guardrails: &[Arc<Guardrail>]) -> impl Iterator<Item = &Redaction> {
    let checks = guardrails.iter().flat_map(|guardrail| &guardrail.checks);
    checks.flat_map(|check| redact::patterns_of(&check.test))
}

impl Channel {
    fn hear(&mut self, text: &str, held: bool) {
        if held {
            self.pending.push_str(text);
        }
        if self.said.len() + text.len() > limits::GUARDRAIL_TEXT_BYTES_MAX {
            self.too_long = true;
        } else {
            self.said.push_str(text);
        }
    }

    /// The first bytes of what is pending have been let go.
    fn pass(&mut self, end: usize) {
        let rest = self.pending.split_off(end);
        self.behind.push_str(&std::mem::replace(&mut self.pending, rest));
        let keep = self.behind.len().saturating_sub(limits::STREAM_WINDOW_BYTES);
        let keep = self.behind.ceil_char_boundary(keep);
        self.behind.drain(..keep);
    }
}
