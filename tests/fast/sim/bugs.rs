//! A panic in one exchange costs that exchange: its client is told, its record names the place, others go on.

use std::borrow::Cow;

use trunkline::{
    chat::{reply::Reply, request::Request, usage::Usage},
    config::Config,
    provider::{
        Adapter, Endpoint, Fit, HeaderLookup, HeaderSink, Rendered, Seen, StreamError, Translate,
        Unfit, Watch, by_name,
    },
    serve::guard,
};

use super::{Gate, Setup, client::chat, millis, secs};

/// OpenAI's adapter with a bug in it.
struct Buggy {
    /// Where it goes off.
    bug: Bug,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    Headers,
    Usage,
    /// At the third event of a stream.
    Stream,
}

static HEADERS: Buggy = Buggy { bug: Bug::Headers };
static USAGE: Buggy = Buggy { bug: Bug::Usage };
static STREAM: Buggy = Buggy { bug: Bug::Stream };

fn openai() -> &'static dyn Adapter {
    by_name("openai").expect("it is known")
}

impl Adapter for Buggy {
    fn name(&self) -> &'static str {
        "buggy"
    }
    fn base_url(&self) -> Option<&'static str> {
        None
    }
    fn fit(&self, endpoint: Endpoint) -> Fit {
        openai().fit(endpoint)
    }
    fn path<'a>(&self, endpoint: Endpoint, rest: &'a str) -> Cow<'a, str> {
        openai().path(endpoint, rest)
    }
    fn headers(&self, key: Option<&str>, client: HeaderLookup<'_, '_>, out: HeaderSink<'_>) {
        assert!(self.bug != Bug::Headers, "a bug in the headers");
        openai().headers(key, client, out);
    }
    fn watch(&self, endpoint: Endpoint, withhold_usage: bool) -> Box<dyn Watch> {
        let inner = openai().watch(endpoint, withhold_usage);
        Box::new(BuggyWatch { inner, left: if self.bug == Bug::Stream { 2 } else { usize::MAX } })
    }
    fn usage(&self, endpoint: Endpoint, usage: &[u8]) -> Option<Usage> {
        assert!(self.bug != Bug::Usage, "a bug in the usage");
        openai().usage(endpoint, usage)
    }
    fn render(&self, request: &Request) -> Result<Rendered, Unfit> {
        openai().render(request)
    }
    fn reply(&self, body: &mut [u8]) -> Result<Reply, String> {
        openai().reply(body)
    }
    fn translate(&self) -> Box<dyn Translate> {
        openai().translate()
    }
    fn error(&self, status: u16, body: &[u8]) -> Option<StreamError> {
        openai().error(status, body)
    }
}

struct BuggyWatch {
    inner: Box<dyn Watch>,
    left: usize,
}

impl Watch for BuggyWatch {
    fn event(&mut self, name: &[u8], data: &[u8]) -> Seen {
        self.left = self.left.checked_sub(1).expect("a bug in the stream");
        self.inner.event(name, data)
    }
    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }
    fn model(&self) -> Option<&str> {
        self.inner.model()
    }
}

/// A gate whose target `a` has the bug, alone; `b` is under `@b/`.
fn with_bug(adapter: &'static Buggy) -> Gate {
    guard::install_hook();
    let policy = serde_json::json!({"virtual_key": "a"});
    Setup::new(1)
        .policy(policy)
        .change(move |config: &mut Config| config.virtual_keys[0].provider = adapter)
        .open()
}

#[test]
fn before_the_request_is_sent() {
    let gate = with_bug(&HEADERS);
    let answer = gate.ask("hi");
    assert_eq!((answer.status, answer.error().as_deref()), (500, Some("api_error")));
    assert_eq!(answer.header("x-trunkline-error-source"), Some("gateway"));
    let record = gate.record();
    assert_eq!((record.status, record.error_kind.as_str()), (500, "bug"));
    assert!(record.error_message.contains("bugs.rs:"), "{}", record.error_message);
    assert_eq!(gate.counters.bugs.get(), 1);
    gate.close();
}

#[test]
fn others_go_on() {
    let gate = with_bug(&HEADERS);
    let other = String::from_utf8(chat("hi", true)).expect("text");
    let other = other.replace("x-portkey-config: main", "x-portkey-virtual-key: b");
    gate.target("b").is("interval=1s");
    let mut conn = gate.begin(other.as_bytes(), millis(1500));
    assert_eq!(gate.ask("hi").status, 500);
    let answer = gate.run(async move { conn.answer().await });
    assert!(answer.is_whole(), "{answer:?}");
    assert_eq!(gate.records().len(), 2);
    gate.close();
}

#[test]
fn after_the_answer_was_passed_on() {
    let gate = with_bug(&USAGE);
    let answer = gate.ask("hi");
    // The whole answer was out: that it could not be accounted is not the client's affair.
    assert!(answer.is_whole(), "{answer:?}");
    let record = gate.record();
    assert_eq!((record.status, record.error_kind.as_str()), (200, "bug"));
    gate.close();
}

#[test]
fn in_the_middle_of_a_stream() {
    let gate = with_bug(&STREAM);
    gate.target("a").is("interval=1s");
    let answer = gate.stream("hi");
    assert!(answer.status == 200 && !answer.complete && !answer.says_done(), "{answer:?}");
    assert!(answer.took < secs(10));
    let record = gate.record();
    assert_eq!((record.status, record.error_kind.as_str()), (200, "bug"));
    assert!(record.truncated, "{record:?}");
    assert_eq!(gate.target("a").open(), 0);
    gate.close();
}
