//! The client's side: request formats of the SDKs into [`crate::chat`], and answers back in the same dialect.

pub mod anthropic;
mod error;
pub mod openai;
mod read;
pub mod speak;

pub use error::{error_body, error_event, hooks_failed_body, refusal_body};

use crate::chat::delta::Delta;

/// A request field that is malformed: its path and a sentence for the caller. Answered with a 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The field, e.g. `messages[0].role`; empty for the body itself.
    pub field: String,
    /// What was wrong and what to write instead.
    pub message: String,
}

/// The formats that clients speak. Decides the shape of errors too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Dialect {
    /// OpenAI chat completions, and OpenAI's error shape for every pass-through route.
    OpenAi = 1,
    /// Anthropic messages.
    Anthropic = 2,
    /// OpenAI responses.
    Responses = 3,
}

/// Writes a translated stream in the client's dialect. One a stream.
pub trait Writer {
    /// Appends the events for one delta.
    fn delta(&mut self, delta: &Delta, out: &mut Vec<u8>);
    /// Appends what closes a complete stream (`[DONE]`, `message_stop`).
    fn finish(&mut self, out: &mut Vec<u8>);
}
