//! One door to the dialects: reads and writes in whichever of them the client speaks.

use super::{Dialect, Malformed, Writer, anthropic, openai};
use crate::chat::{reply::Reply, request::Request};

pub use super::openai::Meta;

impl Dialect {
    /// The word used in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Dialect::OpenAi => "openai",
            Dialect::Anthropic => "anthropic",
            Dialect::Responses => "responses",
        }
    }
}

/// Reads a request. No provider translates `Responses`, so that such a body never comes here.
pub fn read(dialect: Dialect, body: &mut [u8]) -> Result<Request, Malformed> {
    match dialect {
        Dialect::OpenAi | Dialect::Responses => openai::read(body),
        Dialect::Anthropic => anthropic::read(body),
    }
}

/// Writes a whole answer.
#[must_use]
pub fn write_reply(dialect: Dialect, reply: &Reply, meta: Meta) -> Vec<u8> {
    match dialect {
        Dialect::OpenAi | Dialect::Responses => openai::write_reply(reply, &meta),
        Dialect::Anthropic => anthropic::write_reply(reply, &of_anthropic(meta)),
    }
}

/// A writer for one stream.
#[must_use]
pub fn writer(dialect: Dialect, meta: Meta) -> Box<dyn Writer> {
    match dialect {
        Dialect::OpenAi | Dialect::Responses => Box::new(openai::OpenAiWriter::new(meta)),
        Dialect::Anthropic => Box::new(anthropic::AnthropicWriter::new(of_anthropic(meta))),
    }
}

fn of_anthropic(meta: Meta) -> anthropic::Meta {
    anthropic::Meta { id: meta.id, model: meta.model }
}
