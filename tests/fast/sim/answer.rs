//! What a client got: an answer as far as it came, whether HTTP calls it complete, and what it says.

use std::time::Duration;

use serde_json::Value;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a FIN.
    Closed,
    /// With a RST.
    Reset,
}

/// One answer; of status 0 if none came.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether it is whole, by its own framing.
    pub complete: bool,
    /// What it took on the wire.
    pub bytes: usize,
    /// From the wait for it to its end.
    pub took: Duration,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn is_stream(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// Name and data of each whole event.
    pub fn events(&self) -> Vec<(String, String)> {
        let text = self.text();
        let blocks = text.split_inclusive("\n\n").filter_map(|block| block.strip_suffix("\n\n"));
        let events = blocks.map(|block| {
            let field = |name: &str| {
                let mut lines = block.lines();
                let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                value.unwrap_or_default().to_owned()
            };
            (field("event"), field("data"))
        });
        events.collect()
    }

    /// The text that the model said, as far as it came, in whichever dialect.
    pub fn said(&self) -> String {
        if !self.is_stream() {
            let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
            let openai = json["choices"][0]["message"]["content"].as_str();
            let anthropic = json["content"][0]["text"].as_str();
            let responses = json["output"][0]["content"][0]["text"].as_str();
            return openai.or(anthropic).or(responses).unwrap_or_default().to_owned();
        }
        let mut said = String::new();
        for (_, data) in self.events() {
            let json: Value = serde_json::from_str(&data).unwrap_or_default();
            let openai = json["choices"][0]["delta"]["content"].as_str();
            let anthropic = json["delta"]["text"].as_str();
            let responses = json["delta"].as_str();
            said.push_str(openai.or(anthropic).or(responses).unwrap_or_default());
        }
        said
    }

    /// Which target speaks: each begins with its name.
    pub fn served_by(&self) -> String {
        self.said().split(' ').next().unwrap_or_default().to_owned()
    }

    /// The type of the error that it tells of, in its body or in an event of its stream.
    pub fn error(&self) -> Option<String> {
        let kind = |text: &str| {
            // Most are none, and need not be parsed to see that.
            text.contains("\"error\"").then_some(())?;
            let json: Value = serde_json::from_str(text).ok()?;
            let on_top = json["code"].as_str().filter(|_| json["type"] == "error");
            json["error"]["type"].as_str().or(on_top).map(str::to_owned)
        };
        match self.is_stream() {
            false => kind(&self.text()),
            true => self.events().iter().find_map(|(_, data)| kind(data)),
        }
    }

    /// Whether a stream says that it is complete, in whichever dialect: with its end marker, or with the model's
    /// finish and nothing behind it.
    pub fn says_done(&self) -> bool {
        let events = self.events();
        let rest = events.iter().map(|(_, data)| data.len() + 8).sum::<usize>();
        let finishes = |data: &str| data.contains("\"finish_reason\":\"");
        events.iter().any(|(name, data)| data == "[DONE]" || STOPS.contains(&&**name))
            || self.complete
                && rest == self.body.len()
                && events.iter().any(|(_, data)| finishes(data))
    }

    /// Whether a client knows that it has everything.
    pub fn is_whole(&self) -> bool {
        let readable = self.status == 200 && self.complete && self.error().is_none();
        readable
            && match self.is_stream() {
                true => self.says_done(),
                false => serde_json::from_slice::<Value>(&self.body).is_ok(),
            }
    }

    /// Whether a client knows that it has not: by an error status with a body to read, or by an answer that its
    /// framing calls cut short, a stream also by an event that says why.
    pub fn is_error(&self) -> bool {
        match self.status {
            200 if self.is_stream() => {
                !self.complete && !self.says_done() && self.error().is_some()
            }
            200 => !self.complete,
            _ => self.status >= 400 && self.complete && self.error().is_some(),
        }
    }
}

/// Events that end a stream by their name.
const STOPS: [&str; 2] = ["message_stop", "response.completed"];

/// The answer at the start of `bytes` as far as it is there, and how many bytes it takes. `None`: not even its head.
pub fn parse(bytes: &[u8], ended: Option<Ended>) -> Option<(Answer, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    let end = match parsed.parse(bytes).expect("a well-formed head") {
        httparse::Status::Complete(end) => end,
        httparse::Status::Partial => return None,
    };
    let status = parsed.code.expect("a status");
    if status < 200 {
        let (answer, taken) = parse(&bytes[end..], ended)?;
        return Some((answer, end + taken));
    }
    let headers: Vec<_> = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
        .collect();
    let mut answer = Answer { status, headers, ..Answer::default() };
    let rest = &bytes[end..];
    let taken = match (answer.header("content-length"), answer.header("transfer-encoding")) {
        (Some(length), None) => {
            let length: usize = length.parse().expect("a length");
            let there = rest.len().min(length);
            answer.complete = there == length;
            answer.body = rest[..there].to_vec();
            there
        }
        (None, Some(coding)) => {
            assert_eq!(coding, "chunked");
            dechunk(rest, &mut answer)
        }
        (None, None) if status == 204 || status == 304 => {
            answer.complete = true;
            0
        }
        (None, None) => {
            answer.complete = ended == Some(Ended::Closed);
            answer.body = rest.to_vec();
            rest.len()
        }
        (Some(_), Some(_)) => panic!("two framings: {:?}", answer.headers),
    };
    Some((answer, end + taken))
}

fn dechunk(bytes: &[u8], answer: &mut Answer) -> usize {
    let mut at = 0;
    while let Some(line) = bytes[at..].windows(2).position(|pair| pair == b"\r\n") {
        let size = std::str::from_utf8(&bytes[at..at + line]).expect("digits");
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        let start = at + line + 2;
        let there = (bytes.len() - start).min(size);
        answer.body.extend_from_slice(&bytes[start..start + there]);
        let Some(end) = bytes.get(start + size..start + size + 2) else { break };
        assert_eq!(end, b"\r\n", "the end of a chunk");
        at = start + size + 2;
        if size == 0 {
            answer.complete = true;
            return at;
        }
    }
    bytes.len()
}
