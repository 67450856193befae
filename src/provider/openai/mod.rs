//! OpenAI's wire format, as OpenAI and its many look-alikes serve it. Requests in this format pass unchanged; requests
//! in another are written anew.

mod error;
mod messages;
mod render;
mod reply;
mod responses;
mod stream;
pub mod usage;
mod watch;

use std::borrow::Cow;

use super::{
    Adapter, Endpoint, Fit, HeaderLookup, HeaderSink, Rendered, StreamError, Translate, Unfit,
    Watch,
};
use crate::chat::{reply::Reply, request::Request, usage::Usage};

/// A header sent, and the client's headers that it is taken from, in order.
pub type Passed = (&'static str, &'static [&'static str]);

/// One host that speaks OpenAI's format.
#[derive(Clone, Copy)]
pub struct Host {
    name: &'static str,
    base_url: &'static str,
    prefix: &'static str,
    renames: &'static [(&'static str, &'static str)],
    takes_usage: bool,
    optional_key: bool,
    passed: &'static [Passed],
    sent: &'static [(&'static str, &'static str)],
}

impl Host {
    /// A host without peculiarities. An empty base URL: the target must declare one.
    #[must_use]
    pub const fn new(name: &'static str, base_url: &'static str) -> Host {
        let (prefix, renames, passed, sent) = ("", &[] as &[_], &[] as &[_], &[] as &[_]);
        let (takes_usage, optional_key) = (false, false);
        Host { name, base_url, prefix, renames, takes_usage, optional_key, passed, sent }
    }

    /// Its paths begin with this, below the base URL.
    #[must_use]
    pub const fn below(mut self, prefix: &'static str) -> Host {
        self.prefix = prefix;
        self
    }

    /// It calls these fields otherwise, `(from, to)`.
    #[must_use]
    pub const fn renames(mut self, renames: &'static [(&'static str, &'static str)]) -> Host {
        self.renames = renames;
        self
    }

    /// It understands `stream_options.include_usage`.
    #[must_use]
    pub const fn takes_usage(mut self) -> Host {
        self.takes_usage = true;
        self
    }

    /// It may serve without a credential.
    #[must_use]
    pub const fn optional_key(mut self) -> Host {
        self.optional_key = true;
        self
    }

    /// These headers of the client's are its own.
    #[must_use]
    pub const fn passes(mut self, passed: &'static [Passed]) -> Host {
        self.passed = passed;
        self
    }

    /// These headers are always sent, unless the client's own take their place.
    #[must_use]
    pub const fn sends(mut self, sent: &'static [(&'static str, &'static str)]) -> Host {
        self.sent = sent;
        self
    }
}

impl Adapter for Host {
    fn name(&self) -> &'static str {
        self.name
    }

    fn base_url(&self) -> Option<&'static str> {
        (!self.base_url.is_empty()).then_some(self.base_url)
    }

    fn fit(&self, endpoint: Endpoint) -> Fit {
        match endpoint {
            Endpoint::Messages => Fit::Translate,
            Endpoint::CountTokens => Fit::Unfit,
            _ => Fit::Same,
        }
    }

    fn path<'a>(&self, endpoint: Endpoint, rest: &'a str) -> Cow<'a, str> {
        let rest = match endpoint {
            Endpoint::ChatCompletions | Endpoint::Messages => "/chat/completions",
            Endpoint::Completions => "/completions",
            Endpoint::Embeddings => "/embeddings",
            Endpoint::Models => "/models",
            Endpoint::CountTokens | Endpoint::Responses | Endpoint::Other => rest,
        };
        match self.prefix {
            "" => Cow::Borrowed(rest),
            prefix => Cow::Owned(format!("{prefix}{rest}")),
        }
    }

    fn headers(&self, credential: Option<&str>, client: HeaderLookup<'_, '_>, out: HeaderSink<'_>) {
        if let Some(credential) = credential {
            out("authorization", &["Bearer ", credential].concat());
        }
        for (name, spellings) in self.passed {
            if let Some(value) = spellings.iter().find_map(|spelling| client(spelling)) {
                out(name, value);
            }
        }
        for (name, value) in self.sent {
            let is_passed = |(passed, spellings): &Passed| {
                passed == name && spellings.iter().any(|spelling| client(spelling).is_some())
            };
            if !self.passed.iter().any(is_passed) {
                out(name, value);
            }
        }
    }

    fn credential_optional(&self) -> bool {
        self.optional_key
    }

    fn renames(&self) -> &'static [(&'static str, &'static str)] {
        self.renames
    }

    fn takes_include_usage(&self) -> bool {
        self.takes_usage
    }

    fn watch(&self, endpoint: Endpoint, withhold_usage: bool) -> Box<dyn Watch> {
        match endpoint {
            Endpoint::Responses => Box::new(responses::ResponsesWatch::default()),
            _ => Box::new(watch::ChatWatch::new(withhold_usage)),
        }
    }

    fn usage(&self, _endpoint: Endpoint, usage: &[u8]) -> Option<Usage> {
        usage::from_json(usage)
    }

    fn render(&self, request: &Request) -> Result<Rendered, Unfit> {
        render::render(request, self.renames, self.takes_usage)
    }

    fn reply(&self, body: &mut [u8]) -> Result<Reply, String> {
        reply::read(body)
    }

    fn translate(&self) -> Box<dyn Translate> {
        Box::new(stream::ChatTranslate::default())
    }

    fn error(&self, status: u16, body: &[u8]) -> Option<StreamError> {
        error::from_body(status, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &Host, client: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut sent = Vec::new();
        let lookup = |name: &str| client.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        host.headers(None, &lookup, &mut |name, value| sent.push((name.into(), value.into())));
        sent
    }

    #[test]
    fn a_clients_own_header_takes_the_place_of_a_static_one() {
        const PASSED: &[Passed] = &[("x-title", &["x-title"])];
        let host = Host::new("h", "").passes(PASSED).sends(&[("x-title", "Trunkline")]);
        assert_eq!(headers(&host, &[]), [("x-title".to_owned(), "Trunkline".to_owned())]);
        let own = headers(&host, &[("x-title", "Mine"), ("cookie", "c")]);
        assert_eq!(own, [("x-title".to_owned(), "Mine".to_owned())]);
    }

    #[test]
    fn a_translated_body_speaks_the_hosts_own_names() {
        let host = Host::new("h", "").renames(&[("max_tokens", "limit"), ("seed", "random_seed")]);
        let sampling = crate::chat::request::Sampling { seed: Some(-7), ..Default::default() };
        let (model, max_tokens) = ("m".to_owned(), Some(9));
        let request = Request { model, max_tokens, sampling, stream: true, ..Request::default() };
        let body = |host: Host| {
            String::from_utf8(host.render(&request).expect("fits").body).expect("UTF-8")
        };
        let expected = r#"{"model":"m","messages":[],"limit":9,"random_seed":-7,"stream":true}"#;
        assert_eq!(body(host), expected);
        let asked = r#""stream":true,"stream_options":{"include_usage":true}}"#;
        assert!(body(host.takes_usage()).ends_with(asked));
    }

    #[test]
    fn translated_messages_go_to_the_chat_path() {
        let host = Host::new("h", "").below("/v1");
        assert_eq!(host.path(Endpoint::Messages, "/messages"), "/v1/chat/completions");
        assert_eq!(host.fit(Endpoint::CountTokens), Fit::Unfit);
    }
}
