//! A whole answer in provider-neutral words.

use super::{request::Content, usage::Usage};

/// One answer, whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// The provider's id; may be empty.
    pub id: String,
    /// The model that served it; may be empty.
    pub model: String,
    /// The alternatives; one, unless more were asked for.
    pub choices: Vec<Choice>,
    /// What it used, if the provider said.
    pub usage: Option<Usage>,
}

/// One alternative.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// What was said, thought and called, in order.
    pub content: Vec<Content>,
    /// Why it ended.
    pub finish: Finish,
}

/// Why an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model was done.
    Stop,
    /// One of the client's stop sequences came up: this one.
    StopSequence(String),
    /// The token limit.
    Length,
    /// The context window was full.
    ContextFull,
    /// Tools are to be called.
    ToolCalls,
    /// The provider's safety rules.
    Filtered,
    /// A long turn was paused by the provider and may be continued.
    Paused,
    /// A reason that this version has no word for.
    Other(String),
}
