//! From an answer to the bytes of the connection, each with the time at which it is due: head, framing, pace, and
//! the faults that strike bytes. Pure, and lazy: a stream is made while it is sent.

use std::{iter::Peekable, time::Duration};

use bytes::{Bytes, BytesMut};

use super::{
    answer::{Answer, Body, Planned},
    dice::Dice,
    events::Events,
    script::{Fault, Framing, KeepAlive, Malformed, Script},
};

/// Bytes to write, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// After the request was received.
    pub at: Duration,
    /// What to write.
    pub bytes: Bytes,
}

/// What follows the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The next request.
    KeepAlive,
    /// A proper close: what was written arrives.
    Close,
    /// The connection is dropped, at this time.
    Cut(Duration),
    /// Silence, until the client goes away.
    Stall,
}

/// What the request says about the form of its answer.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The connection may serve another request.
    pub keep_alive: bool,
    /// HTTP/1.0.
    pub old: bool,
    /// The method is HEAD: an answer has no body.
    pub head_only: bool,
}

/// The steps of one answer, in order.
pub struct Steps {
    segments: Box<dyn Iterator<Item = Step>>,
    fault: Fault,
    split_bytes: Option<usize>,
    /// The rest of a segment of which a part was handed out.
    rest: Option<Step>,
    sent: u64,
    last_at: Duration,
    /// Nothing is due before, because of a stall that ends.
    not_before: Duration,
    end: End,
}

impl Steps {
    /// Lays an answer out. The dice draw the time of its first byte.
    #[must_use]
    pub fn new(planned: Planned, client: Client, dice: &mut Dice) -> Steps {
        let Planned { answer, script } = planned;
        let first_byte = script.first_byte.draw(dice);
        let form = Form::of(&answer, &script, client);
        let end = match script.keep_alive {
            KeepAlive::Drop => End::Cut(Duration::ZERO),
            _ if form.closes => End::Close,
            _ => End::KeepAlive,
        };
        let head = head(&answer, &script, form);
        let segments = segments(answer, head, form, first_byte, script.interval, &script);
        Steps {
            segments,
            split_bytes: script.split_bytes,
            fault: script.fault,
            rest: None,
            sent: 0,
            last_at: Duration::ZERO,
            not_before: Duration::ZERO,
            end,
        }
    }

    /// What follows the last step; asked after the last one was handed out.
    #[must_use]
    pub fn end(&self) -> End {
        self.end
    }

    /// Bytes handed out so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Ends the steps if a fault strikes at this byte. `next_at` is when the next byte would be due.
    fn struck(&mut self, next_at: Option<Duration>) -> bool {
        if self.fault.cut_at_byte == Some(self.sent) {
            let first = if self.sent == 0 { next_at } else { None };
            self.end = End::Cut(first.unwrap_or(self.last_at));
            return true;
        }
        if self.fault.stall_at_byte != Some(self.sent) {
            return false;
        }
        match self.fault.stall_for {
            None => self.end = End::Stall,
            Some(pause) => {
                self.fault.stall_at_byte = None;
                self.not_before = self.last_at.max(next_at.unwrap_or_default()) + pause;
            }
        }
        self.fault.stall_for.is_none()
    }

    /// How many bytes may be written in one piece from here.
    fn room(&self) -> usize {
        let to = |byte: Option<u64>| byte.and_then(|byte| byte.checked_sub(self.sent));
        let faults = [to(self.fault.cut_at_byte), to(self.fault.stall_at_byte)];
        let nearest = faults.into_iter().flatten().filter(|room| *room > 0).min();
        let nearest =
            nearest.map_or(usize::MAX, |room| usize::try_from(room).unwrap_or(usize::MAX));
        nearest.min(self.split_bytes.unwrap_or(usize::MAX))
    }
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let segment = self.rest.take().or_else(|| self.segments.next());
        if self.struck(segment.as_ref().map(|segment| segment.at)) {
            return None;
        }
        let mut segment = segment?;
        let at = segment.at.max(self.not_before);
        let bytes = segment.bytes.split_to(self.room().min(segment.bytes.len()));
        if !segment.bytes.is_empty() {
            self.rest = Some(segment);
        }
        self.sent += bytes.len() as u64;
        self.last_at = at;
        Some(Step { at, bytes })
    }
}

/// How the end of the answer is told.
#[derive(Clone, Copy, Debug)]
struct Form {
    chunked: bool,
    closes: bool,
    says_close: bool,
    no_body: bool,
}

impl Form {
    fn of(answer: &Answer, script: &Script, client: Client) -> Form {
        let no_body = client.head_only || matches!(answer.status, 204 | 304);
        let stream = matches!(answer.body, Body::Stream(_));
        let by_close = script.framing == Framing::Close || (client.old && stream);
        let chunked = !by_close && !client.old && (stream || script.framing == Framing::Chunked);
        let off = script.keep_alive == KeepAlive::Off;
        let http = script.fault.malformed != Malformed::Http;
        let says_close = by_close || off || !client.keep_alive;
        Form { chunked, closes: says_close || !http, says_close, no_body }
    }
}

fn segments(
    answer: Answer,
    head: Bytes,
    form: Form,
    first_byte: Duration,
    interval: Duration,
    script: &Script,
) -> Box<dyn Iterator<Item = Step>> {
    let step = move |bytes| Step { at: first_byte, bytes };
    if script.fault.malformed == Malformed::Http {
        return Box::new([step(Bytes::from_static(NOT_HTTP))].into_iter());
    }
    match answer.body {
        _ if form.no_body => Box::new([step(head)].into_iter()),
        Body::Whole(bytes) => {
            let mut segment = BytesMut::from(&head[..]);
            put(&mut segment, &bytes, form.chunked);
            put_end(&mut segment, form.chunked);
            Box::new([step(segment.freeze())].into_iter())
        }
        Body::Stream(events) => Box::new(Stream {
            events: events.peekable(),
            head: Some(head),
            chunked: form.chunked,
            first_byte,
            interval,
        }),
    }
}

/// A stream, a segment a slot: its first one begins with the head, its last one ends the body.
struct Stream {
    events: Peekable<Events>,
    head: Option<Bytes>,
    chunked: bool,
    first_byte: Duration,
    interval: Duration,
}

impl Iterator for Stream {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let head = self.head.take();
        let slot = match self.events.peek() {
            Some(event) => event.slot,
            None if head.is_some() => 0,
            None => return None,
        };
        let mut content = BytesMut::new();
        while let Some(event) = self.events.next_if(|event| event.slot <= slot) {
            content.extend_from_slice(&event.bytes);
        }
        let mut segment = BytesMut::from(&head.unwrap_or_default()[..]);
        put(&mut segment, &content, self.chunked);
        if self.events.peek().is_none() {
            put_end(&mut segment, self.chunked);
        }
        let intervals = u32::try_from(slot).unwrap_or(u32::MAX);
        let at = self.first_byte.saturating_add(self.interval.saturating_mul(intervals));
        Some(Step { at, bytes: segment.freeze() })
    }
}

fn put(segment: &mut BytesMut, content: &[u8], chunked: bool) {
    if chunked && !content.is_empty() {
        segment.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
        segment.extend_from_slice(content);
        segment.extend_from_slice(b"\r\n");
    } else {
        segment.extend_from_slice(content);
    }
}

fn put_end(segment: &mut BytesMut, chunked: bool) {
    if chunked {
        segment.extend_from_slice(b"0\r\n\r\n");
    }
}

fn head(answer: &Answer, script: &Script, form: Form) -> Bytes {
    let mut head = INTERIM.repeat(script.interim);
    let status = answer.status;
    head.push_str(&format!(
        "HTTP/1.1 {status} {}\r\nserver: trunkline-sandbox\r\n",
        reason(status)
    ));
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    match &answer.body {
        _ if form.chunked => head.push_str("transfer-encoding: chunked\r\n"),
        Body::Whole(bytes) if script.framing != Framing::Close => {
            head.push_str(&format!("content-length: {}\r\n", bytes.len()));
        }
        _ => {}
    }
    if form.says_close {
        head.push_str("connection: close\r\n");
    }
    head.push_str("\r\n");
    Bytes::from(head)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        529 => "Overloaded",
        300..400 => "Redirection",
        _ => "Error",
    }
}

const INTERIM: &str = "HTTP/1.1 103 Early Hints\r\nlink: </sandbox>; rel=preload\r\n\r\n";
const NOT_HTTP: &[u8] = b"220 sandbox ESMTP: this is no HTTP\r\n250 nor this\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::events::line;

    const CLIENT: Client = Client { keep_alive: true, old: false, head_only: false };

    fn script(text: &str) -> Script {
        text.parse().expect("a script")
    }

    fn whole() -> Answer {
        Answer::json(&serde_json::json!({"a": 1}))
    }

    fn stream() -> Answer {
        Answer::stream(Box::new((0..4).map(|slot| line(slot, format!("data: {slot}\n\n")))))
    }

    fn steps(answer: Answer, text: &str) -> Steps {
        Steps::new(Planned { answer, script: script(text) }, CLIENT, &mut Dice::new(1))
    }

    fn sent(steps: &mut Steps) -> String {
        let bytes: Vec<u8> = steps.flat_map(|step| step.bytes.to_vec()).collect();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn whole_answers_have_a_length() {
        let mut steps = steps(whole(), "");
        let text = sent(&mut steps);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.ends_with("content-length: 7\r\n\r\n{\"a\":1}"), "{text}");
        assert_eq!(steps.end(), End::KeepAlive);
    }

    #[test]
    fn streams_are_chunked_and_keep_an_absolute_schedule() {
        let steps = steps(stream(), "first_byte=100ms&interval=20ms");
        let (at, texts): (Vec<u128>, Vec<String>) = steps
            .map(|step| (step.at.as_millis(), String::from_utf8_lossy(&step.bytes).into_owned()))
            .unzip();
        assert_eq!(at, [100, 120, 140, 160]);
        assert!(texts[0].ends_with("transfer-encoding: chunked\r\n\r\n9\r\ndata: 0\n\n\r\n"));
        assert_eq!(texts[1], "9\r\ndata: 1\n\n\r\n");
        assert_eq!(texts[3], "9\r\ndata: 3\n\n\r\n0\r\n\r\n");
    }

    #[test]
    fn framing_is_as_scripted() {
        let text = sent(&mut steps(whole(), "framing=chunked"));
        assert!(text.ends_with("transfer-encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n0\r\n\r\n"));
        let mut by_close = steps(stream(), "framing=close");
        let text = sent(&mut by_close);
        assert!(text.contains("connection: close\r\n\r\ndata: 0\n\ndata: 1"), "{text}");
        assert!(!text.contains("transfer-encoding") && text.ends_with("data: 3\n\n"));
        assert_eq!(by_close.end(), End::Close);
    }

    #[test]
    fn connections_end_as_scripted() {
        let mut off = steps(whole(), "keep_alive=off");
        assert!(sent(&mut off).contains("connection: close\r\n"));
        assert_eq!(off.end(), End::Close);
        let mut dropped = steps(whole(), "keep_alive=drop");
        assert!(!sent(&mut dropped).contains("connection"));
        assert_eq!(dropped.end(), End::Cut(Duration::ZERO));
    }

    #[test]
    fn a_cut_at_every_byte_sends_exactly_those_before() {
        let all = sent(&mut steps(stream(), "interval=1ms"));
        for cut in 0..=all.len() {
            let mut steps = steps(stream(), &format!("interval=1ms&cut={cut}"));
            assert_eq!(sent(&mut steps), all[..cut], "cut at {cut}");
            assert!(matches!(steps.end(), End::Cut(_)), "cut at {cut}");
        }
        let mut beyond = steps(stream(), "cut=100000");
        assert_eq!(sent(&mut beyond).len(), all.len());
        assert_eq!(beyond.end(), End::KeepAlive);
    }

    #[test]
    fn a_cut_comes_with_the_last_byte_before_it_or_with_the_first() {
        let mut at_once = steps(stream(), "first_byte=50ms&cut=0");
        assert_eq!(at_once.next(), None);
        assert_eq!(at_once.end(), End::Cut(Duration::from_millis(50)));
        let first = steps(stream(), "").next().expect("a step").bytes.len();
        let mut after = steps(stream(), &format!("interval=1h&cut={first}"));
        assert_eq!(sent(&mut after).len(), first);
        assert_eq!(after.end(), End::Cut(Duration::ZERO));
    }

    #[test]
    fn a_stall_is_silence_for_good_or_for_a_while() {
        let mut forever = steps(stream(), "stall=30");
        assert_eq!(sent(&mut forever).len(), 30);
        assert_eq!(forever.end(), End::Stall);
        let mut pause = steps(stream(), "interval=20ms&stall=30&stall_for=50ms");
        let at: Vec<u128> = pause.by_ref().map(|step| step.at.as_millis()).collect();
        assert_eq!(at, [0, 50, 50, 50, 60]);
        assert_eq!(pause.end(), End::KeepAlive);
        assert_eq!(
            sent(&mut steps(stream(), "stall=30&stall_for=1s")),
            sent(&mut steps(stream(), ""))
        );
    }

    #[test]
    fn split_answers_are_the_same_bytes() {
        let mut split = steps(whole(), "split=3");
        assert!(split.by_ref().all(|step| step.bytes.len() <= 3));
        assert_eq!(sent(&mut steps(whole(), "split=1")), sent(&mut steps(whole(), "")));
    }

    #[test]
    fn interim_answers_come_first_and_no_http_is_none() {
        let text = sent(&mut steps(whole(), "interim=2"));
        assert_eq!(text.matches("HTTP/1.1 103 ").count(), 2);
        assert!(text.find("103") < text.find(" 200 "));
        let mut broken = steps(whole(), "malformed=http");
        assert!(sent(&mut broken).starts_with("220 "));
        assert_eq!(broken.end(), End::Close);
    }
}
