//! Anthropic messages, the client's side: requests into neutral words, answers and streams back.

mod messages;
mod read;
mod stream;
mod write;

pub use read::read;
pub use stream::AnthropicWriter;
pub use write::{Meta, write_reply};
