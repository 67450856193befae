//! Scripts: how the sandbox paces an answer and how it fails, with the text form used in model names and in the
//! header `x-sandbox-script`: `key=value` pairs joined by `&`, as in a query string.

use std::{fmt, str::FromStr, time::Duration};

use super::dice::Dice;
use crate::base::limits;

/// How one answer goes. [`Script::apply`] reads the text form; `KEYS` lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// From the whole request received to the first byte of the answer.
    pub first_byte: Latency,
    /// Chunks of content; `None`: a word a chunk.
    pub chunks: Option<usize>,
    /// Between two chunks of a stream, on an absolute schedule.
    pub interval: Duration,
    /// Every chunk is filler of this size.
    pub chunk_bytes: Option<usize>,
    /// The words to answer with.
    pub text: Option<String>,
    /// Tools of the request to call, all at once.
    pub tool_calls: usize,
    /// Whether usage is reported.
    pub usage: bool,
    /// Input tokens reported as read from the prompt cache.
    pub cached_tokens: u64,
    /// Output tokens reported as reasoning, on top of the visible ones.
    pub reasoning_tokens: u64,
    /// Comment lines before the first event of a stream.
    pub comments: usize,
    /// 1xx answers before the real one.
    pub interim: usize,
    /// How the end of the body is told.
    pub framing: Framing,
    /// The answer is written in pieces of this size.
    pub split_bytes: Option<usize>,
    /// What becomes of the connection after the answer.
    pub keep_alive: KeepAlive,
    /// The request body is read at this many bytes a second. Only from the header, or as the sandbox's own script: the
    /// model name is in the body itself.
    pub slow_read: Option<u64>,
    /// Seconds in a `retry-after` header.
    pub retry_after: Option<u64>,
    /// The share of requests that the faults below strike, from 0 to 1.
    pub rate: f64,
    /// What goes wrong.
    pub fault: Fault,
}

/// What goes wrong with an answer. Byte counts are bytes on the wire, from the status line on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The answer is an error of this status, in the provider's shape.
    pub status: Option<u16>,
    /// What that error's body is.
    pub error_body: ErrorBody,
    /// The connection is closed after so many bytes.
    pub cut_at_byte: Option<u64>,
    /// Nothing is sent after so many bytes …
    pub stall_at_byte: Option<u64>,
    /// … for this long; `None`: until the client goes away.
    pub stall_for: Option<Duration>,
    /// What is broken in the answer.
    pub malformed: Malformed,
    /// The stream ends in an error event after so many chunks of content; 0: it is the very first event.
    pub error_event: Option<usize>,
}

/// The time to the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// Always the same: `20ms`.
    Fixed(Duration),
    /// Evenly spread: `20ms..80ms`.
    Between(Duration, Duration),
    /// Exponentially spread around a mean: `~50ms`.
    Around(Duration),
}

impl Latency {
    /// The wait of one answer.
    pub fn draw(self, dice: &mut Dice) -> Duration {
        match self {
            Latency::Fixed(wait) => wait,
            Latency::Between(least, most) => dice.between(least, most),
            Latency::Around(mean) => dice.exponential(mean).min(limits::SANDBOX_WAIT_MAX),
        }
    }
}

/// How the end of the body is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// A length for whole answers, chunks for streams.
    #[default]
    Auto,
    /// Chunked transfer coding for whole answers too.
    Chunked,
    /// By closing the connection.
    Close,
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepAlive {
    /// It serves the next request.
    #[default]
    On,
    /// It is closed, and the head says so.
    Off,
    /// It is closed without a word in the head.
    Drop,
}

/// What is broken in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Malformed {
    /// Nothing.
    #[default]
    No,
    /// The body is half of its JSON; in a stream, the second event is no JSON.
    Json,
    /// The answer is not HTTP.
    Http,
}

/// What the body of an error is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorBody {
    /// The provider's JSON.
    #[default]
    Json,
    /// A page, as proxies send it.
    Html,
    /// Nothing.
    Empty,
}

/// A script that does not parse: a sentence that says what was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError(String);

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "script: {}", self.0)
    }
}

impl Default for Script {
    fn default() -> Script {
        Script {
            first_byte: Latency::Fixed(Duration::ZERO),
            chunks: None,
            interval: Duration::ZERO,
            chunk_bytes: None,
            text: None,
            tool_calls: 0,
            usage: true,
            cached_tokens: 0,
            reasoning_tokens: 0,
            comments: 0,
            interim: 0,
            framing: Framing::Auto,
            split_bytes: None,
            keep_alive: KeepAlive::On,
            slow_read: None,
            retry_after: None,
            rate: 1.0,
            fault: Fault::default(),
        }
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Script, ScriptError> {
        let mut script = Script::default();
        script.apply(text)?;
        Ok(script)
    }
}

impl Script {
    /// Reads `key=value&…` over what is there: keys that the text does not name stay as they are.
    pub fn apply(&mut self, text: &str) -> Result<(), ScriptError> {
        for (key, value) in url::form_urlencoded::parse(text.trim().as_bytes()) {
            self.set(&key, &value)?;
        }
        match (&self.text, self.chunk_bytes) {
            (Some(_), Some(_)) => {
                Err(ScriptError("`text` and `chunk_bytes` exclude each other".into()))
            }
            _ => Ok(()),
        }
    }

    /// Reads what a model name says: `NAME?key=value&…`, or `sandbox-fail-STATUS`. The name is handed back.
    pub fn apply_model<'a>(&mut self, model: &'a str) -> Result<&'a str, ScriptError> {
        let (name, directives) = model.split_once('?').unwrap_or((model, ""));
        if let Some(status) = name.strip_prefix("sandbox-fail-") {
            self.set("status", status)?;
        }
        self.apply(directives)?;
        Ok(name)
    }

    /// The script of one request: the faults stay or go by the dice.
    #[must_use]
    pub fn strike(mut self, dice: &mut Dice) -> Script {
        if !dice.strikes(self.rate) {
            self.fault = Fault::default();
        }
        self
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), ScriptError> {
        let pair = Pair { key, value };
        match key {
            "first_byte" => self.first_byte = pair.latency()?,
            "chunks" => self.chunks = Some(pair.count(limits::SANDBOX_CHUNKS_MAX)?),
            "interval" => self.interval = pair.wait()?,
            "chunk_bytes" => self.chunk_bytes = Some(pair.size(limits::SANDBOX_CHUNK_BYTES_MAX)?),
            "text" => self.text = Some(value.to_owned()),
            "tool_calls" => self.tool_calls = pair.count(limits::SANDBOX_REPEAT_MAX)?,
            "usage" => self.usage = pair.one_of(&[("on", true), ("off", false)])?,
            "cached_tokens" => self.cached_tokens = u64::from(pair.tokens()?),
            "reasoning_tokens" => self.reasoning_tokens = u64::from(pair.tokens()?),
            "comments" => self.comments = pair.count(limits::SANDBOX_REPEAT_MAX)?,
            "interim" => self.interim = pair.count(limits::SANDBOX_REPEAT_MAX)?,
            "framing" => self.framing = pair.one_of(FRAMINGS)?,
            "split" => self.split_bytes = Some(pair.size(limits::SANDBOX_CHUNK_BYTES_MAX)?),
            "keep_alive" => self.keep_alive = pair.one_of(KEEP_ALIVES)?,
            "slow_read" => self.slow_read = Some(pair.size(limits::SANDBOX_BODY_BYTES_MAX)? as u64),
            "retry_after" => self.retry_after = Some(pair.offset()?),
            "rate" => self.rate = pair.share()?,
            "status" => self.fault.status = Some(pair.status()?),
            "error_body" => self.fault.error_body = pair.one_of(ERROR_BODIES)?,
            "cut" => self.fault.cut_at_byte = Some(pair.offset()?),
            "stall" => self.fault.stall_at_byte = Some(pair.offset()?),
            "stall_for" => self.fault.stall_for = Some(pair.wait()?),
            "malformed" => self.fault.malformed = pair.one_of(MALFORMED)?,
            "error_event" => self.fault.error_event = Some(pair.count(limits::SANDBOX_CHUNKS_MAX)?),
            _ => return Err(unknown_key(key)),
        }
        Ok(())
    }
}

fn unknown_key(key: &str) -> ScriptError {
    ScriptError(format!("there is no key `{}`; the keys are {}", clip(key), KEYS.join(", ")))
}

/// What came from a caller is shown at a bearable length.
fn clip(text: &str) -> String {
    text.chars().take(40).collect()
}

/// One `key=value`, read as what its key wants.
struct Pair<'a> {
    key: &'a str,
    value: &'a str,
}

impl Pair<'_> {
    fn must_be(&self, what: impl fmt::Display) -> ScriptError {
        ScriptError(format!("`{}={}` must be {what}", self.key, clip(self.value)))
    }

    fn count(&self, most: usize) -> Result<usize, ScriptError> {
        let count = self.value.parse().ok().filter(|count| *count <= most);
        count.ok_or_else(|| self.must_be(format_args!("a whole number up to {most}")))
    }

    fn size(&self, most: usize) -> Result<usize, ScriptError> {
        let size = self.value.parse().ok().filter(|size| (1..=most).contains(size));
        size.ok_or_else(|| self.must_be(format_args!("a whole number from 1 to {most}")))
    }

    fn tokens(&self) -> Result<u32, ScriptError> {
        self.value.parse().map_err(|_| self.must_be("a whole number"))
    }

    fn offset(&self) -> Result<u64, ScriptError> {
        self.value.parse().map_err(|_| self.must_be("a whole number"))
    }

    fn status(&self) -> Result<u16, ScriptError> {
        let status = self.value.parse().ok().filter(|status| (300..=599).contains(status));
        status.ok_or_else(|| self.must_be("a status from 300 to 599"))
    }

    fn share(&self) -> Result<f64, ScriptError> {
        let share = self.value.parse().ok().filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| self.must_be("a number from 0 to 1"))
    }

    fn wait(&self) -> Result<Duration, ScriptError> {
        self.wait_of(self.value)
    }

    fn wait_of(&self, text: &str) -> Result<Duration, ScriptError> {
        let wait = humantime::parse_duration(text).ok();
        let wait = wait.filter(|wait| *wait <= limits::SANDBOX_WAIT_MAX);
        wait.ok_or_else(|| self.must_be("a time up to a day, such as 20ms or 1s"))
    }

    fn latency(&self) -> Result<Latency, ScriptError> {
        if let Some(mean) = self.value.strip_prefix('~') {
            return Ok(Latency::Around(self.wait_of(mean)?));
        }
        let Some((least, most)) = self.value.split_once("..") else {
            return Ok(Latency::Fixed(self.wait()?));
        };
        let (least, most) = (self.wait_of(least)?, self.wait_of(most)?);
        if least > most {
            return Err(self.must_be("a range that begins with the shorter time"));
        }
        Ok(Latency::Between(least, most))
    }

    fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, ScriptError> {
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == self.value) {
            return Ok(*choice);
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        Err(self.must_be(format_args!("one of {}", names.join(", "))))
    }
}

const FRAMINGS: &[(&str, Framing)] =
    &[("auto", Framing::Auto), ("chunked", Framing::Chunked), ("close", Framing::Close)];
const KEEP_ALIVES: &[(&str, KeepAlive)] =
    &[("on", KeepAlive::On), ("off", KeepAlive::Off), ("drop", KeepAlive::Drop)];
const MALFORMED: &[(&str, Malformed)] =
    &[("no", Malformed::No), ("json", Malformed::Json), ("http", Malformed::Http)];
const ERROR_BODIES: &[(&str, ErrorBody)] =
    &[("json", ErrorBody::Json), ("html", ErrorBody::Html), ("empty", ErrorBody::Empty)];

/// Every key of the text form.
pub const KEYS: &[&str] = &[
    "first_byte",
    "chunks",
    "interval",
    "chunk_bytes",
    "text",
    "tool_calls",
    "usage",
    "cached_tokens",
    "reasoning_tokens",
    "comments",
    "interim",
    "framing",
    "split",
    "keep_alive",
    "slow_read",
    "retry_after",
    "rate",
    "status",
    "error_body",
    "cut",
    "stall",
    "stall_for",
    "malformed",
    "error_event",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn script(text: &str) -> Script {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn mistake(text: &str) -> String {
        text.parse::<Script>().map_or_else(|error| error.to_string(), |_| "no mistake".into())
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(script(""), Script::default());
        assert_eq!(script(" "), Script::default());
    }

    #[test]
    fn keys_set_what_they_name() {
        let read = script("chunks=40&interval=20ms&cut=900&first_byte=1s&text=a+b%26c");
        assert_eq!(read.chunks, Some(40));
        assert_eq!(read.interval, Duration::from_millis(20));
        assert_eq!(read.fault.cut_at_byte, Some(900));
        assert_eq!(read.first_byte, Latency::Fixed(Duration::from_secs(1)));
        assert_eq!(read.text.as_deref(), Some("a b&c"));
        assert_eq!(script("rate=0.5&status=503").rate, 0.5);
        assert_eq!(script("keep_alive=drop").keep_alive, KeepAlive::Drop);
    }

    #[test]
    fn every_listed_key_is_read_and_no_other() {
        for key in KEYS {
            let said = mistake(&format!("{key}=?"));
            assert!(!said.contains("there is no key"), "{said}");
        }
    }

    #[test]
    fn latencies_have_three_forms() {
        let millis = Duration::from_millis;
        assert_eq!(script("first_byte=20ms").first_byte, Latency::Fixed(millis(20)));
        let range = script("first_byte=20ms..80ms").first_byte;
        assert_eq!(range, Latency::Between(millis(20), millis(80)));
        assert_eq!(script("first_byte=~50ms").first_byte, Latency::Around(millis(50)));
        let mut dice = Dice::new(3);
        assert!((0..100).all(|_| (millis(20)..=millis(80)).contains(&range.draw(&mut dice))));
    }

    #[test]
    fn mistakes_say_what_was_wrong() {
        let known = KEYS.join(", ");
        for (text, said) in [
            ("foo=1", format!("script: there is no key `foo`; the keys are {known}")),
            ("status=abc", "script: `status=abc` must be a status from 300 to 599".into()),
            ("status=200", "script: `status=200` must be a status from 300 to 599".into()),
            ("rate=2", "script: `rate=2` must be a number from 0 to 1".into()),
            ("rate=NaN", "script: `rate=NaN` must be a number from 0 to 1".into()),
            (
                "interval=soon",
                "script: `interval=soon` must be a time up to a day, such as 20ms or 1s".into(),
            ),
            (
                "first_byte=9ms..1ms",
                "script: `first_byte=9ms..1ms` must be a range that begins with the shorter time"
                    .into(),
            ),
            ("cut=-1", "script: `cut=-1` must be a whole number".into()),
            (
                "chunks=9999999",
                "script: `chunks=9999999` must be a whole number up to 1000000".into(),
            ),
            ("split=0", "script: `split=0` must be a whole number from 1 to 1048576".into()),
            ("usage=maybe", "script: `usage=maybe` must be one of on, off".into()),
            ("text=a&chunk_bytes=3", "script: `text` and `chunk_bytes` exclude each other".into()),
        ] {
            assert_eq!(mistake(text), said);
        }
    }

    #[test]
    fn model_names_carry_scripts() {
        let mut read = Script::default();
        assert_eq!(read.apply_model("script?status=429&retry_after=7"), Ok("script"));
        assert_eq!((read.fault.status, read.retry_after), (Some(429), Some(7)));
        let mut read = Script::default();
        assert_eq!(read.apply_model("sandbox-fail-500"), Ok("sandbox-fail-500"));
        assert_eq!(read.fault.status, Some(500));
        let said = read.apply_model("sandbox-fail-often").map_err(|error| error.to_string());
        assert_eq!(said, Err("script: `status=often` must be a status from 300 to 599".to_owned()));
    }

    #[test]
    fn faults_strike_at_their_rate() {
        let mut dice = Dice::new(4);
        let often = script("status=503&rate=0.5");
        let struck =
            (0..1000).filter(|_| often.clone().strike(&mut dice).fault.status.is_some()).count();
        assert!((440..560).contains(&struck), "{struck}");
    }
}
