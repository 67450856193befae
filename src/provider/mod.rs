//! Providers: who runs the models, and what their wire format is. One file a format, all of one shape;
//! hosts that speak OpenAI's format are rows of a table. Everything here is pure.

pub mod anthropic;
pub mod compatible;
pub mod openai;
mod registry;

use std::borrow::Cow;

pub use registry::{by_name, names};

use crate::chat::{delta::Delta, reply::Reply, request::Request, usage::Usage};

/// What a request asks for, by its path below `/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    ChatCompletions = 1,
    /// `POST /v1/completions`
    Completions = 2,
    /// `POST /v1/embeddings`
    Embeddings = 3,
    /// `POST /v1/messages`
    Messages = 4,
    /// `POST /v1/messages/count_tokens`
    CountTokens = 5,
    /// `POST /v1/responses` and what lies below it
    Responses = 6,
    /// `GET /v1/models`
    Models = 7,
    /// Every other path below `/v1`: passed through.
    Other = 8,
}

/// How a provider serves an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The client's format is the provider's format: bytes pass unchanged.
    Same,
    /// The request and the answer are translated through [`crate::chat`].
    Translate,
    /// This provider has no such thing; the chain goes on to the next target.
    Unfit,
}

/// What a target cannot express: the request field and a sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The field of the client's request, e.g. `messages[2].content[1]`.
    pub field: String,
    /// What is wrong with it for this provider.
    pub message: String,
}

/// A request body in the provider's format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The JSON body.
    pub body: Vec<u8>,
    /// Sampling parameters that the provider has no counterpart for.
    pub dropped: Vec<&'static str>,
    /// Fields of the client's that Trunkline does not know, left out too: to be listed with `dropped`.
    pub unknown: Vec<String>,
}

/// What one event of an upstream's stream means for the relay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Text, reasoning, refusal, tool call, audio or a finish: the stream may be committed.
    pub content: bool,
    /// The model has finished: what may still come is usage and the end marker.
    pub finished: bool,
    /// The stream is complete by its own protocol (`[DONE]`, `message_stop`).
    pub done: bool,
    /// The event carries usage that the client did not ask for, and nothing else: not to be passed on.
    pub withhold: bool,
    /// The event is an error: its message, and the status it stands for.
    pub error: Option<StreamError>,
    /// The event should be JSON and is not.
    pub unreadable: bool,
}

/// Whether an event's data is no JSON. Nothing at all is not held against a stream.
fn is_unreadable(data: &[u8]) -> bool {
    let said = !data.trim_ascii().is_empty();
    said && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_err()
}

/// An error event inside a stream of status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamError {
    /// The HTTP status that the provider would have sent before the stream (529, 429, 500 …).
    pub status: u16,
    /// The provider's error type, e.g. `overloaded_error`.
    pub kind: String,
    /// The provider's own words.
    pub message: String,
}

/// Reads a same-format stream as it passes. One a stream; never changes a byte.
pub trait Watch {
    /// Looks at one server-sent event: its `event:` name (empty if none) and its data.
    fn event(&mut self, name: &[u8], data: &[u8]) -> Seen;
    /// The usage seen so far, if any.
    fn usage(&self) -> Option<Usage>;
    /// The model that the provider says it served, if it said.
    fn model(&self) -> Option<&str>;
}

/// Reads a provider's stream into provider-neutral deltas. One a stream.
pub trait Translate {
    /// Turns one server-sent event into deltas, in order. A body that does not parse is `Err`: what was wrong.
    fn event(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Delta>) -> Result<Seen, String>;
    /// The usage seen so far, if any.
    fn usage(&self) -> Option<Usage>;
    /// The model that the provider says it served, if it said.
    fn model(&self) -> Option<&str>;
}

/// Looks a request header up by its lower-case name.
pub type HeaderLookup<'l, 'a> = &'l dyn Fn(&str) -> Option<&'a str>;

/// Receives one header of the request to the provider.
pub type HeaderSink<'a> = &'a mut dyn FnMut(&str, &str);

/// One provider, or one look-alike row. All are `&'static`.
pub trait Adapter: Sync {
    /// The name used in configurations and headers, e.g. `openai`.
    fn name(&self) -> &'static str;
    /// Where its API lives, without a trailing slash; `None`: the target must declare one.
    fn base_url(&self) -> Option<&'static str>;
    /// How it serves an endpoint.
    fn fit(&self, endpoint: Endpoint) -> Fit;
    /// The path below the base URL. `rest` is what the client wrote after `/v1`, e.g. `/files/abc`, without its query.
    fn path<'a>(&self, endpoint: Endpoint, rest: &'a str) -> Cow<'a, str>;
    /// Writes the credential and the provider's own headers (versions, betas, organisation) from the client's.
    fn headers(&self, credential: Option<&str>, client: HeaderLookup<'_, '_>, out: HeaderSink<'_>);
    /// Whether a request may go without any credential (servers in one's own house).
    fn credential_optional(&self) -> bool {
        false
    }
    /// Top-level fields to rename in a same-format chat body, `(from, to)`.
    fn renames(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }
    /// Whether the host understands `stream_options.include_usage`.
    fn takes_include_usage(&self) -> bool {
        false
    }
    /// A reader for a same-format stream of this endpoint. `withhold_usage`: the client did not ask for usage.
    fn watch(&self, endpoint: Endpoint, withhold_usage: bool) -> Box<dyn Watch>;
    /// Usage of a plain same-format answer, from the raw JSON of its top-level `usage` field.
    fn usage(&self, endpoint: Endpoint, usage: &[u8]) -> Option<Usage>;
    /// The request in this provider's format. Called only if `fit` says `Translate`.
    fn render(&self, request: &Request) -> Result<Rendered, Unfit>;
    /// A plain answer of status 200 in neutral words. `Err`: what was wrong with it.
    fn reply(&self, body: &mut [u8]) -> Result<Reply, String>;
    /// A reader for a stream of this provider that is to be translated.
    fn translate(&self) -> Box<dyn Translate>;
    /// An error body in neutral words: `(type, message)`; `None` if it is not the provider's error shape.
    fn error(&self, status: u16, body: &[u8]) -> Option<StreamError>;
}
