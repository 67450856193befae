//! The providers that a configuration may name.

use crate::provider::Adapter;

/// The provider of a name.
// SWAP-IN: `crate::provider::by_name(name)`.
#[must_use]
pub fn provider_by_name(name: &str) -> Option<&'static dyn Adapter> {
    stand_in::ALL.iter().find(|p| p.name == name).map(|p| p as &'static dyn Adapter)
}

/// The names of all providers.
// SWAP-IN: `crate::provider::names()`.
pub fn provider_names() -> impl Iterator<Item = &'static str> {
    stand_in::ALL.iter().map(|p| p.name)
}

// SWAP-IN: delete this module.
mod stand_in {
    use std::borrow::Cow;

    use crate::{
        chat::{reply::Reply, request::Request, usage::Usage},
        provider::{
            Adapter, Endpoint, Fit, HeaderLookup, HeaderSink, Rendered, StreamError, Translate,
            Unfit, Watch,
        },
    };

    pub struct StandIn {
        pub name: &'static str,
        base: Option<&'static str>,
        optional: bool,
    }

    pub const ALL: &[StandIn] = &[
        StandIn { name: "openai", base: Some("https://api.openai.com/v1"), optional: false },
        StandIn { name: "anthropic", base: Some("https://api.anthropic.com/v1"), optional: false },
        StandIn { name: "groq", base: Some("https://api.groq.com/openai/v1"), optional: false },
        StandIn { name: "openai-compatible", base: None, optional: true },
        StandIn { name: "ollama", base: Some("http://localhost:11434/v1"), optional: true },
        StandIn { name: "vllm", base: Some("http://localhost:8000/v1"), optional: true },
    ];

    struct Blind;

    impl Watch for Blind {
        fn event(&mut self, _: &[u8], _: &[u8]) -> crate::provider::Seen {
            crate::provider::Seen::default()
        }
        fn usage(&self) -> Option<Usage> {
            None
        }
        fn model(&self) -> Option<&str> {
            None
        }
    }

    impl Translate for Blind {
        fn event(
            &mut self,
            _: &[u8],
            _: &[u8],
            _: &mut Vec<crate::chat::delta::Delta>,
        ) -> Result<crate::provider::Seen, String> {
            Ok(crate::provider::Seen::default())
        }
        fn usage(&self) -> Option<Usage> {
            None
        }
        fn model(&self) -> Option<&str> {
            None
        }
    }

    impl Adapter for StandIn {
        fn name(&self) -> &'static str {
            self.name
        }
        fn base_url(&self) -> Option<&'static str> {
            self.base
        }
        fn fit(&self, _: Endpoint) -> Fit {
            Fit::Unfit
        }
        fn path<'a>(&self, _: Endpoint, rest: &'a str) -> Cow<'a, str> {
            Cow::Borrowed(rest)
        }
        fn headers(&self, _: Option<&str>, _: HeaderLookup<'_>, _: HeaderSink<'_>) {}
        fn credential_optional(&self) -> bool {
            self.optional
        }
        fn watch(&self, _: Endpoint, _: bool) -> Box<dyn Watch> {
            Box::new(Blind)
        }
        fn usage(&self, _: Endpoint, _: &[u8]) -> Option<Usage> {
            None
        }
        fn render(&self, _: &Request) -> Result<Rendered, Unfit> {
            Ok(Rendered::default())
        }
        fn reply(&self, _: &mut [u8]) -> Result<Reply, String> {
            Err(String::new())
        }
        fn translate(&self) -> Box<dyn Translate> {
            Box::new(Blind)
        }
        fn error(&self, _: u16, _: &[u8]) -> Option<StreamError> {
            None
        }
    }
}
