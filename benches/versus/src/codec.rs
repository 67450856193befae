//! What is asked of a codec, and what it is seen to do.

use bytes::Bytes;

use crate::feed::Feed;

/// One HTTP/1.1 implementation.
pub trait Codec {
    /// Its name in the table.
    const NAME: &'static str;

    /// Reads requests off the connection as a server and answers each with `answer`, until it refuses, waits, or the
    /// connection ends.
    fn serve(feed: &Feed, answer: &Bytes) -> Seen;

    /// Asks with these methods, one after the other on one connection, and reads what comes. `answers` arrive when
    /// they are asked for.
    fn ask(feed: &Feed, rounds: &[(&'static str, Bytes)]) -> Seen;

    /// Answers a request with a stream whose first piece is `t` and whose second never comes; returns what has left.
    fn begin_stream() -> Vec<u8>;
}

/// What a codec made of what came.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The messages, in order.
    pub messages: Vec<Message>,
    /// What it complained of.
    pub refused: Option<String>,
    /// Body bytes that came out of a message that is not complete.
    pub partial: usize,
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// The target of a request, the status of an answer.
    pub what: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl Seen {
    /// What came, in one line.
    pub fn told(&self) -> String {
        let messages: Vec<_> = self
            .messages
            .iter()
            .map(|message| format!("{} ({} B)", message.what, message.body.len()))
            .collect();
        match (&self.refused, messages.is_empty()) {
            (Some(error), true) => format!("refused: {error}"),
            (Some(error), false) => format!("{}, then refused: {error}", messages.join(", ")),
            (None, true) if self.partial > 0 => format!("{} B handed on, waits", self.partial),
            (None, true) => "waits".to_owned(),
            (None, false) => messages.join(", "),
        }
    }
}
