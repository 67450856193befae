//! An OpenAI chat stream in neutral deltas.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use super::{
    reply::{self, text_of},
    watch::ChatWatch,
};
use crate::{
    chat::{
        delta::{Delta, Piece},
        usage::Usage,
    },
    provider::{Seen, Translate, Watch},
};

/// Turns a stream into neutral deltas. Errors, usage and the model are what [`ChatWatch`] sees.
pub struct ChatTranslate {
    watch: ChatWatch,
    started: bool,
    /// Id and index of the tool call that is being written.
    call: Option<(String, u64)>,
    calls: u32,
    usage: Option<Usage>,
}

impl Default for ChatTranslate {
    fn default() -> ChatTranslate {
        let watch = ChatWatch::new(false);
        ChatTranslate { watch, started: false, call: None, calls: 0, usage: None }
    }
}

impl Translate for ChatTranslate {
    fn event(&mut self, name: &[u8], data: &[u8], out: &mut Vec<Delta>) -> Result<Seen, String> {
        let seen = self.watch.event(name, data);
        if seen.done || seen.error.is_some() {
            return Ok(seen);
        }
        let chunk: Chunk<'_> = serde_json::from_slice(data)
            .map_err(|error| format!("an event that is no chat completion chunk: {error}"))?;
        if !self.started {
            self.started = true;
            let id = chunk.id.as_deref().unwrap_or_default().to_owned();
            let model = self.watch.model().unwrap_or_default().to_owned();
            out.push(Delta::of(Piece::Start { id, model }));
        }
        let before = out.len();
        for choice in chunk.choices.unwrap_or_default() {
            self.choice(&choice, out)?;
        }
        let content = out.len() > before;
        if self.watch.usage() != self.usage {
            self.usage = self.watch.usage();
            out.extend(self.usage.map(|usage| Delta::of(Piece::Usage(usage))));
        }
        Ok(Seen { content, finished: seen.finished, ..Seen::default() })
    }

    fn usage(&self) -> Option<Usage> {
        self.watch.usage()
    }

    fn model(&self) -> Option<&str> {
        self.watch.model()
    }
}

impl ChatTranslate {
    fn choice(&mut self, choice: &Choice<'_>, out: &mut Vec<Delta>) -> Result<(), String> {
        let mut push = |piece| out.push(Delta { choice: choice.index.unwrap_or(0), piece });
        if let Some(delta) = &choice.delta {
            let thinking = delta.reasoning_content.as_ref().or(delta.reasoning.as_ref());
            thinking.and_then(text_of).map(Piece::Thinking).map(&mut push);
            delta.content.as_ref().and_then(text_of).map(Piece::Text).map(&mut push);
            delta.refusal.as_ref().and_then(text_of).map(Piece::Refusal).map(&mut push);
            for call in delta.tool_calls.iter().flatten() {
                self.call(call, &mut push)?;
            }
        }
        if let Some(reason) = choice.finish_reason.as_deref() {
            push(Piece::Finish(reply::finish(reason, self.calls > 0)));
        }
        Ok(())
    }

    /// Hosts differ in what they repeat: a call begins with an id or an index that is new.
    fn call(&mut self, wire: &Call<'_>, push: &mut impl FnMut(Piece)) -> Result<(), String> {
        let id = wire.id.as_deref().filter(|id| !id.is_empty());
        let index = wire.index.or(self.call.as_ref().map(|(_, index)| *index)).unwrap_or(0);
        let is_new = match &self.call {
            None => true,
            Some((current, at)) => *at != index || id.is_some_and(|id| id != current),
        };
        let function = wire.function.as_ref();
        if is_new {
            let Some(name) = function.and_then(|function| function.name.as_deref()) else {
                return Err("a piece of a tool call that is not the one being written".to_owned());
            };
            let id = id.map_or_else(|| format!("call_{}", self.calls), str::to_owned);
            self.call = Some((id.clone(), index));
            push(Piece::ToolCall { index: self.calls, id, name: name.to_owned() });
            self.calls += 1;
        }
        let text = function.and_then(|function| match &function.arguments {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Null) | None => None,
            Some(object) => Some(object.to_string()),
        });
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            push(Piece::Arguments { index: self.calls - 1, text });
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    choices: Option<Vec<Choice<'a>>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    delta: Option<ChoiceDelta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct ChoiceDelta<'a> {
    #[serde(default)]
    content: Option<Value>,
    #[serde(default)]
    reasoning_content: Option<Value>,
    #[serde(default)]
    reasoning: Option<Value>,
    #[serde(default)]
    refusal: Option<Value>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<Call<'a>>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(default)]
    arguments: Option<Value>,
}
