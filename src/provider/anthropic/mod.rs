//! Anthropic. Its own Messages format passes unchanged; OpenAI's chat is translated both ways, plain and streamed.

mod error;
mod messages;
mod model;
mod render;
mod reply;
mod schema;
mod stream;
mod thinking;
mod tools;
mod usage;

use std::borrow::Cow;

use super::{
    Adapter, Endpoint, Fit, HeaderLookup, HeaderSink, Rendered, StreamError, Translate, Unfit,
    Watch,
};
use crate::chat::{reply::Reply, request::Request, usage::Usage};

/// Anthropic's own API.
pub static ANTHROPIC: Anthropic = Anthropic;

/// See [`ANTHROPIC`].
pub struct Anthropic;

impl Adapter for Anthropic {
    fn name(&self) -> &'static str {
        "anthropic"
    }

    fn base_url(&self) -> Option<&'static str> {
        Some("https://api.anthropic.com/v1")
    }

    fn fit(&self, endpoint: Endpoint) -> Fit {
        match endpoint {
            Endpoint::Messages | Endpoint::CountTokens | Endpoint::Models | Endpoint::Other => {
                Fit::Same
            }
            Endpoint::ChatCompletions => Fit::Translate,
            Endpoint::Completions | Endpoint::Embeddings | Endpoint::Responses => Fit::Unfit,
        }
    }

    fn path<'a>(&self, endpoint: Endpoint, rest: &'a str) -> Cow<'a, str> {
        Cow::Borrowed(match endpoint {
            Endpoint::ChatCompletions | Endpoint::Messages => "/messages",
            Endpoint::CountTokens => "/messages/count_tokens",
            Endpoint::Models => "/models",
            _ => rest,
        })
    }

    fn headers(&self, credential: Option<&str>, client: HeaderLookup<'_, '_>, out: HeaderSink<'_>) {
        match credential {
            // Tokens of a subscription, as Claude Code presents them, are bearer tokens.
            Some(token) if token.starts_with("sk-ant-oat") => {
                out("authorization", &format!("Bearer {token}"));
            }
            Some(key) => out("x-api-key", key),
            None => {}
        }
        let first = |names: &[&str]| names.iter().find_map(|name| client(name));
        out("anthropic-version", first(VERSION_HEADERS).unwrap_or(VERSION));
        if let Some(beta) = first(BETA_HEADERS) {
            out("anthropic-beta", beta);
        }
    }

    fn watch(&self, _endpoint: Endpoint, _withhold_usage: bool) -> Box<dyn Watch> {
        Box::new(stream::MessagesWatch::default())
    }

    fn usage(&self, _endpoint: Endpoint, usage: &[u8]) -> Option<Usage> {
        usage::from_json(usage)
    }

    fn render(&self, request: &Request) -> Result<Rendered, Unfit> {
        render::render(request)
    }

    fn reply(&self, body: &mut [u8]) -> Result<Reply, String> {
        reply::read(body)
    }

    fn translate(&self) -> Box<dyn Translate> {
        Box::new(stream::MessagesTranslate::default())
    }

    fn error(&self, status: u16, body: &[u8]) -> Option<StreamError> {
        error::read(Some(status), body)
    }
}

/// The version whose format this module writes; the next one (2026-10-21) has no sampling parameters at all.
const VERSION: &str = "2023-06-01";
const VERSION_HEADERS: &[&str] =
    &["x-trunkline-anthropic-version", "x-portkey-anthropic-version", "anthropic-version"];
const BETA_HEADERS: &[&str] =
    &["x-trunkline-anthropic-beta", "x-portkey-anthropic-beta", "anthropic-beta"];

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(credential: &str, client: &[(&str, &str)]) -> Vec<String> {
        let mut sent = Vec::new();
        let lookup = |name: &str| client.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        ANTHROPIC.headers(Some(credential), &lookup, &mut |name, value| {
            sent.push(format!("{name}: {value}"));
        });
        sent
    }

    #[test]
    fn the_version_is_always_sent_and_the_clients_wins() {
        assert_eq!(sent("k", &[]), ["x-api-key: k", "anthropic-version: 2023-06-01"]);
        let client = [
            ("anthropic-version", "2026-10-21"),
            ("x-portkey-anthropic-beta", "a,b"),
            ("anthropic-beta", "c"),
        ];
        let expected = ["x-api-key: k", "anthropic-version: 2026-10-21", "anthropic-beta: a,b"];
        assert_eq!(sent("k", &client), expected);
        assert_eq!(sent("sk-ant-oat01-x", &[])[0], "authorization: Bearer sk-ant-oat01-x");
    }

    #[test]
    fn chat_goes_to_messages_and_the_rest_stays() {
        assert_eq!(ANTHROPIC.path(Endpoint::ChatCompletions, "/chat/completions"), "/messages");
        assert_eq!(ANTHROPIC.path(Endpoint::Other, "/files/a"), "/files/a");
        assert_eq!(ANTHROPIC.fit(Endpoint::Responses), Fit::Unfit);
        assert_eq!(ANTHROPIC.fit(Endpoint::Models), Fit::Same);
    }
}
