//! OpenAI chat completions, the client's side: requests into neutral words, answers and streams back.

mod messages;
mod read;
mod write;

pub use read::read;
pub use write::{Meta, OpenAiWriter, write_reply};
