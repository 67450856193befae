//! An answer in pieces, as a stream brings it.

use super::{reply::Finish, usage::Usage};

/// One piece of one alternative.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// Which alternative; 0 unless several were asked for.
    pub choice: u32,
    /// The piece.
    pub piece: Piece,
}

impl Delta {
    /// A piece of the only alternative.
    #[must_use]
    pub fn of(piece: Piece) -> Delta {
        Delta { choice: 0, piece }
    }
}

/// What a stream brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// The answer begins.
    Start {
        /// The provider's id; may be empty.
        id: String,
        /// The model that serves it; may be empty.
        model: String,
    },
    /// More text.
    Text(String),
    /// More of what the model thinks.
    Thinking(String),
    /// The provider's seal on the thinking before it.
    Signature(String),
    /// Encrypted thinking, whole.
    RedactedThinking(String),
    /// More of a refusal.
    Refusal(String),
    /// A tool call begins.
    ToolCall {
        /// Its place among the tool calls of this answer, from 0.
        index: u32,
        /// The id that its result will name.
        id: String,
        /// The tool.
        name: String,
    },
    /// More of a tool call's arguments, as JSON text.
    Arguments {
        /// The tool call's place.
        index: u32,
        /// A piece of the JSON text.
        text: String,
    },
    /// The answer ends.
    Finish(Finish),
    /// What was used so far; a later one replaces an earlier one.
    Usage(Usage),
}
