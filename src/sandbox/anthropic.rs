//! Anthropic's messages, token counts and list of models.

use serde_json::{Value, json};

use super::{
    answer::{Answer, Turn},
    ask::{self, Ask, MustCall, text_of},
    events::{self, Event, assemble, named, quoted},
    openai::MODELS,
    refusal::Refusal,
    said::{Call, Content, Finish, Said, Used, say, within_bounds},
    text::{Text, tokens},
};

/// `POST /v1/messages`
pub fn messages(turn: &mut Turn<'_>) -> Result<Answer, Refusal> {
    let mut ask = read(turn.body)?;
    ask.max_tokens = ask::number(turn.body, "max_tokens")?;
    if ask.max_tokens.is_none() {
        return Err(Refusal::missing("max_tokens"));
    }
    let said = say(&ask, turn.model, turn.script);
    if ask::flag(turn.body, "stream")? {
        return Ok(Answer::stream(stream(turn, said)));
    }
    within_bounds(&said, 1)?;
    let content = match &said.content {
        Content::Text(text) => json!([{"type": "text", "text": text.whole()}]),
        Content::Calls(calls) => calls.iter().map(|call| whole_call(turn, call)).collect(),
    };
    let mut message = message(turn);
    message["content"] = content;
    message["stop_reason"] = json!(stop_reason(said.finish));
    if turn.script.usage {
        message["usage"] = usage(said.used, said.used.output);
    }
    Ok(Answer::json(&message))
}

/// `POST /v1/messages/count_tokens`
pub fn count_tokens(turn: &Turn<'_>) -> Result<Answer, Refusal> {
    let ask = read(turn.body)?;
    Ok(Answer::json(&json!({"input_tokens": tokens(ask.input_bytes)})))
}

/// `GET /v1/models`
pub fn models() -> Answer {
    let models: Vec<Value> = MODELS.iter().map(|model| model_card(model)).collect();
    let (first, last) = (MODELS.first(), MODELS.last());
    Answer::json(&json!({"data": models, "has_more": false, "first_id": first, "last_id": last}))
}

/// `GET /v1/models/NAME`: every name is a model.
pub fn model(name: &str) -> Answer {
    Answer::json(&model_card(name))
}

fn model_card(name: &str) -> Value {
    json!({"type": "model", "id": name, "display_name": name,
        "created_at": "2025-01-01T00:00:00Z"})
}

fn read(body: &Value) -> Result<Ask, Refusal> {
    let mut ask = Ask { input_bytes: text_of(&body["system"]).len() as u64, ..Ask::default() };
    for message in ask::messages(body)? {
        match message["role"].as_str() {
            Some(role @ ("user" | "assistant")) => ask.hear(role, &message["content"]),
            _ => return Err(Refusal::invalid("messages[].role", "must be user or assistant")),
        }
    }
    for tool in body["tools"].as_array().into_iter().flatten() {
        ask.offer(&tool["name"], &tool["input_schema"]);
    }
    let choice = &body["tool_choice"];
    ask.must_call = match (choice["type"].as_str(), choice["name"].as_str()) {
        (Some("any"), _) => Some(MustCall::Any),
        (Some("tool"), Some(name)) => Some(MustCall::Named(name.to_owned())),
        _ => None,
    };
    Ok(ask)
}

/// A message without content, as a stream begins with it.
fn message(turn: &mut Turn<'_>) -> Value {
    json!({"id": turn.dice.id("msg_01", 22), "type": "message", "role": "assistant",
        "model": turn.model, "content": [], "stop_reason": null, "stop_sequence": null})
}

fn whole_call(turn: &mut Turn<'_>, call: &Call) -> Value {
    let input: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
    json!({"type": "tool_use", "id": turn.dice.id("toolu_01", 22), "name": call.name,
        "input": input})
}

fn stream(turn: &mut Turn<'_>, said: Said) -> events::Events {
    let mut start = message(turn);
    if turn.script.usage {
        start["usage"] = usage(said.used, 1);
    }
    let opening = vec![
        named(0, &json!({"type": "message_start", "message": start})),
        named(0, &json!({"type": "ping"})),
    ];
    let (finish, used) = (said.finish, said.used.output);
    let with_usage = turn.script.usage;
    match said.content {
        Content::Text(text) => {
            let closing = closing(text.count().saturating_sub(1), finish, used, with_usage);
            assemble(turn.script, opening, text_block(text), closing, error)
        }
        Content::Calls(calls) => {
            let blocks = call_blocks(turn, &calls);
            let last_slot = blocks.last().map_or(0, |event| event.slot);
            let closing = closing(last_slot, finish, used, with_usage);
            assemble(turn.script, opening, blocks.into_iter(), closing, error)
        }
    }
}

fn text_block(text: Text) -> impl Iterator<Item = Event> {
    let last_slot = text.count().saturating_sub(1);
    let start = json!({"type": "content_block_start", "index": 0,
        "content_block": {"type": "text", "text": ""}});
    let stop = named(last_slot, &json!({"type": "content_block_stop", "index": 0}));
    let deltas = (0..text.count()).map(move |slot| text_delta(slot, text.chunk(slot)));
    [named(0, &start)].into_iter().chain(deltas).chain([stop])
}

/// By hand, since it is nearly all of a stream.
fn text_delta(slot: usize, text: &str) -> Event {
    let text = quoted(text);
    events::line(
        slot,
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{{\"type\":\"text_delta\",\"text\":{text}}}}}\n\n"
        ),
    )
}

fn call_blocks(turn: &mut Turn<'_>, calls: &[Call]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut slot = 0;
    for (index, call) in calls.iter().enumerate() {
        let id = turn.dice.id("toolu_01", 22);
        let start = json!({"type": "content_block_start", "index": index, "content_block":
            {"type": "tool_use", "id": id, "name": call.name, "input": {}}});
        events.push(named(slot, &start));
        for piece in [""].into_iter().chain(call.pieces()) {
            let delta = json!({"type": "content_block_delta", "index": index,
                "delta": {"type": "input_json_delta", "partial_json": piece}});
            events.push(named(slot, &delta));
            slot += 1;
        }
        events.push(named(slot - 1, &json!({"type": "content_block_stop", "index": index})));
    }
    events
}

fn closing(slot: usize, finish: Finish, output_tokens: u64, with_usage: bool) -> Vec<Event> {
    let mut delta = json!({"type": "message_delta",
        "delta": {"stop_reason": stop_reason(finish), "stop_sequence": null}});
    if with_usage {
        delta["usage"] = json!({"output_tokens": output_tokens});
    }
    vec![named(slot, &delta), named(slot, &json!({"type": "message_stop"}))]
}

fn error(slot: usize) -> Event {
    named(slot, &Refusal::overloaded().anthropic("req_sandbox"))
}

fn stop_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Calls => "tool_use",
    }
}

/// Anthropic counts cached input beside the input, not inside it.
fn usage(used: Used, output_tokens: u64) -> Value {
    json!({
        "input_tokens": used.input.saturating_sub(used.cached),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": used.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
    })
}
