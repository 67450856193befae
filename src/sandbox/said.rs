//! What the sandbox says to a request: words or tool calls, why it ends, and what it used.

use super::{
    ask::Ask,
    refusal::Refusal,
    sample::sample,
    script::Script,
    text::{TOKEN_BYTES, Text, tokens},
};
use crate::base::limits;

/// One answer, before it has a wire format.
#[derive(Debug)]
pub struct Said {
    /// Words or calls.
    pub content: Content,
    /// Why it ends.
    pub finish: Finish,
    /// What it used.
    pub used: Used,
}

/// What an answer consists of.
#[derive(Debug)]
pub enum Content {
    /// Words.
    Text(Text),
    /// Calls of tools.
    Calls(Vec<Call>),
}

/// One tool call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The tool.
    pub name: String,
    /// Its arguments, as JSON text.
    pub arguments: String,
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// All was said.
    Stop,
    /// The limit of the request was reached.
    Length,
    /// A tool is to be called.
    Calls,
}

/// Token counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// All input, cached included.
    pub input: u64,
    /// Input read from the cache.
    pub cached: u64,
    /// All output, reasoning included.
    pub output: u64,
    /// Output that is reasoning.
    pub reasoning: u64,
}

impl Call {
    /// The arguments in the pieces in which they are streamed.
    #[must_use]
    pub fn pieces(&self) -> Vec<&str> {
        let mut pieces = Vec::new();
        let mut rest = self.arguments.as_str();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.ceil_char_boundary(PIECE_BYTES));
            pieces.push(piece);
            rest = after;
        }
        pieces
    }
}

/// Decides what to say.
#[must_use]
pub fn say(ask: &Ask, model: &str, script: &Script) -> Said {
    let calls = ask.calls(script.tool_calls);
    if !calls.is_empty() {
        let calls = calls.iter().map(|tool| Call {
            name: tool.name.clone(),
            arguments: sample(&tool.schema).to_string(),
        });
        return calling(ask, calls.collect(), script);
    }
    let mut text = Text::of(script, words(ask, model));
    let bytes_max = ask.max_tokens.map(|tokens| tokens.saturating_mul(TOKEN_BYTES));
    let cut = bytes_max.is_some_and(|bytes_max| text.shorten(bytes_max));
    let output = tokens(text.bytes()).min(ask.max_tokens.unwrap_or(u64::MAX));
    let finish = if cut { Finish::Length } else { Finish::Stop };
    Said { content: Content::Text(text), finish, used: used(ask, output, script) }
}

fn calling(ask: &Ask, calls: Vec<Call>, script: &Script) -> Said {
    let bytes: usize = calls.iter().map(|call| call.name.len() + call.arguments.len()).sum();
    let used = used(ask, tokens(bytes as u64), script);
    Said { content: Content::Calls(calls), finish: Finish::Calls, used }
}

fn words(ask: &Ask, model: &str) -> String {
    if let Some(schema) = &ask.schema {
        return sample(schema).to_string();
    }
    if model == "sandbox-echo" {
        return ask.question.clone();
    }
    let question: String = ask.question.chars().take(SHOWN_CHARS).collect();
    format!(
        "This is {model} in the sandbox that is built into Trunkline. You said: \"{question}\". \
         Name a virtual key of a real provider, and the same call reaches a real model."
    )
}

fn used(ask: &Ask, output: u64, script: &Script) -> Used {
    let input = tokens(ask.input_bytes).max(script.cached_tokens);
    let reasoning = script.reasoning_tokens;
    Used { input, cached: script.cached_tokens, output: output + reasoning, reasoning }
}

/// A plain answer is built whole, so its text is bounded; `copies` of it are in the answer.
pub fn within_bounds(said: &Said, copies: usize) -> Result<(), Refusal> {
    let Content::Text(text) = &said.content else { return Ok(()) };
    let bytes = text.bytes().saturating_mul(copies as u64);
    if bytes <= limits::SANDBOX_TEXT_BYTES_MAX {
        return Ok(());
    }
    let most = limits::SANDBOX_TEXT_BYTES_MAX;
    Err(Refusal::new(
        400,
        format!(
            "script: a plain answer may have {most} bytes of text, not {bytes}; a stream may be longer"
        ),
    ))
}

/// Bytes of a streamed piece of arguments.
const PIECE_BYTES: usize = 12;
/// Characters of the question that the canned answer repeats.
const SHOWN_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(question: &str) -> Ask {
        let mut ask = Ask::default();
        ask.hear("user", &json!(question));
        ask
    }

    fn text(said: &Said) -> String {
        match &said.content {
            Content::Text(text) => text.whole(),
            Content::Calls(calls) => panic!("calls: {calls:?}"),
        }
    }

    #[test]
    fn the_answer_names_the_model_and_the_question() {
        let said = text(&say(&ask("What is up?"), "gpt-9", &Script::default()));
        assert!(said.contains("gpt-9") && said.contains("What is up?"), "{said}");
        assert_eq!(
            text(&say(&ask(" echo\n me"), "sandbox-echo", &Script::default())),
            " echo\n me"
        );
    }

    #[test]
    fn max_tokens_ends_the_answer() {
        let ask = Ask { max_tokens: Some(3), ..ask("one two three four five six") };
        let said = say(&ask, "sandbox-echo", &Script::default());
        assert_eq!(said.finish, Finish::Length);
        assert_eq!(said.used.output, 2);
        assert_eq!(text(&said), "one two ");
    }

    #[test]
    fn usage_follows_the_rule_and_the_script() {
        let script: Script = "cached_tokens=2&reasoning_tokens=10".parse().expect("a script");
        let said = say(&ask("12 bytes txt"), "sandbox-echo", &script);
        assert_eq!(said.used, Used { input: 3, cached: 2, output: 13, reasoning: 10 });
    }

    #[test]
    fn pieces_of_arguments_are_the_arguments() {
        let call =
            Call { name: "f".into(), arguments: "{\"ключ\":\"значение\"}".into() };
        assert!(call.pieces().len() > 1);
        assert_eq!(call.pieces().concat(), call.arguments);
    }
}
