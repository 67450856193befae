//! OpenAI's responses: plain, and as its stream of typed events.

use serde_json::{Value, json};

use super::{
    answer::{Answer, Turn},
    ask::{self, Ask},
    events::{self, Event, assemble, named},
    openai::must_call,
    refusal::Refusal,
    said::{Content, Finish, Said, Used, say, within_bounds},
    text::Text,
};

/// `POST /v1/responses`
pub fn create(turn: &mut Turn<'_>) -> Result<Answer, Refusal> {
    let ask = read(turn.body)?;
    let said = say(&ask, turn.model, turn.script);
    // The last event of a stream repeats the whole text, so the bound holds for both forms.
    within_bounds(&said, 1)?;
    if ask::flag(turn.body, "stream")? {
        return Ok(Answer::stream(stream(turn, said)));
    }
    let response = response(turn);
    let output = output(turn, &said);
    Ok(Answer::json(&finished(response, &output, said.finish, reported(turn, said.used))))
}

fn read(body: &Value) -> Result<Ask, Refusal> {
    let instructions = body["instructions"].as_str().unwrap_or("");
    let mut ask = Ask { input_bytes: instructions.len() as u64, ..Ask::default() };
    match body.get("input") {
        Some(text @ Value::String(_)) => ask.hear("user", text),
        Some(Value::Array(items)) => items.iter().for_each(|item| hear(&mut ask, item)),
        _ => return Err(Refusal::missing("input")),
    }
    for tool in body["tools"].as_array().into_iter().flatten() {
        ask.offer(&tool["name"], &tool["parameters"]);
    }
    ask.must_call = must_call(&body["tool_choice"], &body["tool_choice"]["name"]);
    ask.max_tokens = ask::number(body, "max_output_tokens")?;
    Ok(ask)
}

fn hear(ask: &mut Ask, item: &Value) {
    match item["type"].as_str() {
        Some("function_call_output") => ask.hear("tool", &item["output"]),
        _ => ask.hear(item["role"].as_str().unwrap_or("user"), &item["content"]),
    }
}

/// A response that is under way.
fn response(turn: &mut Turn<'_>) -> Value {
    json!({
        "id": turn.dice.id("resp_", 48), "object": "response", "created_at": turn.created,
        "status": "in_progress", "error": null, "incomplete_details": null,
        "instructions": turn.body.get("instructions"), "max_output_tokens": null,
        "model": turn.model, "output": [], "parallel_tool_calls": true,
        "previous_response_id": null, "reasoning": {"effort": null, "summary": null},
        "store": false, "temperature": 1.0, "text": {"format": {"type": "text"}},
        "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled",
        "usage": null, "user": null, "metadata": {},
    })
}

fn finished(mut response: Value, output: &[Value], finish: Finish, usage: Value) -> Value {
    response["output"] = json!(output);
    response["usage"] = usage;
    response["status"] = json!(if finish == Finish::Length { "incomplete" } else { "completed" });
    if finish == Finish::Length {
        response["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    response
}

fn output(turn: &mut Turn<'_>, said: &Said) -> Vec<Value> {
    match &said.content {
        Content::Text(text) => {
            let id = turn.dice.id("msg_", 48);
            vec![message_item(&id, "completed", json!([text_part(&text.whole())]))]
        }
        Content::Calls(calls) => calls
            .iter()
            .map(|call| {
                let (id, call_id) = (turn.dice.id("fc_", 48), turn.dice.id("call_", 24));
                json!({"id": id, "type": "function_call", "status": "completed",
                    "call_id": call_id, "name": call.name, "arguments": call.arguments})
            })
            .collect(),
    }
}

fn message_item(id: &str, status: &str, content: Value) -> Value {
    json!({"id": id, "type": "message", "status": status, "role": "assistant",
        "content": content})
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn reported(turn: &Turn<'_>, used: Used) -> Value {
    if !turn.script.usage {
        return Value::Null;
    }
    json!({"input_tokens": used.input, "input_tokens_details": {"cached_tokens": used.cached},
        "output_tokens": used.output,
        "output_tokens_details": {"reasoning_tokens": used.reasoning},
        "total_tokens": used.input + used.output})
}

fn stream(turn: &mut Turn<'_>, said: Said) -> events::Events {
    let response = response(turn);
    let output = output(turn, &said);
    let done = finished(response.clone(), &output, said.finish, reported(turn, said.used));
    let opening = vec![
        named(0, &json!({"type": "response.created", "sequence_number": 0, "response": response})),
        named(
            0,
            &json!({"type": "response.in_progress", "sequence_number": 1,
            "response": response}),
        ),
    ];
    let kind = if said.finish == Finish::Length { "incomplete" } else { "completed" };
    let closing = |slot: usize, sequence: usize| {
        vec![named(
            slot,
            &json!({"type": format!("response.{kind}"), "sequence_number": sequence,
            "response": done}),
        )]
    };
    match said.content {
        Content::Text(text) => {
            let item = output.first().cloned().unwrap_or_default();
            // Two events opened the stream; the item has its deltas and five more around them.
            let closing = closing(text.count().saturating_sub(1), text.count() + 7);
            assemble(turn.script, opening, text_events(text, item), closing, error)
        }
        Content::Calls(_) => {
            let events = call_events(&output);
            let closing = closing(output.len().saturating_sub(1), events.len() + 2);
            assemble(turn.script, opening, events.into_iter(), closing, error)
        }
    }
}

fn text_events(text: Text, item: Value) -> impl Iterator<Item = Event> {
    let id = item["id"].clone();
    let whole = item["content"][0]["text"].clone();
    let (last_slot, after) = (text.count().saturating_sub(1), text.count() + 4);
    let begun = message_item(id.as_str().unwrap_or_default(), "in_progress", json!([]));
    let before = [
        json!({"type": "response.output_item.added", "sequence_number": 2, "output_index": 0,
            "item": begun}),
        json!({"type": "response.content_part.added", "sequence_number": 3, "item_id": id,
            "output_index": 0, "content_index": 0, "part": text_part("")}),
    ];
    let done = [
        json!({"type": "response.output_text.done", "sequence_number": after, "item_id": id,
            "output_index": 0, "content_index": 0, "text": whole, "logprobs": []}),
        json!({"type": "response.content_part.done", "sequence_number": after + 1, "item_id": id,
            "output_index": 0, "content_index": 0, "part": item["content"][0]}),
        json!({"type": "response.output_item.done", "sequence_number": after + 2,
            "output_index": 0, "item": item}),
    ];
    let deltas = (0..text.count()).map(move |slot| {
        let delta = json!({"type": "response.output_text.delta", "sequence_number": slot + 4,
            "item_id": id, "output_index": 0, "content_index": 0, "delta": text.chunk(slot),
            "logprobs": []});
        named(slot, &delta)
    });
    let before = before.map(|event| named(0, &event));
    let done = done.map(|event| named(last_slot, &event));
    before.into_iter().chain(deltas).chain(done)
}

fn call_events(output: &[Value]) -> Vec<Event> {
    let mut events = Vec::new();
    for (index, item) in output.iter().enumerate() {
        let mut begun = item.clone();
        begun["status"] = json!("in_progress");
        begun["arguments"] = json!("");
        let (id, arguments) = (&item["id"], &item["arguments"]);
        for mut event in [
            json!({"type": "response.output_item.added", "output_index": index, "item": begun}),
            json!({"type": "response.function_call_arguments.delta", "item_id": id,
                "output_index": index, "delta": arguments}),
            json!({"type": "response.function_call_arguments.done", "item_id": id,
                "output_index": index, "arguments": arguments}),
            json!({"type": "response.output_item.done", "output_index": index, "item": item}),
        ] {
            event["sequence_number"] = json!(events.len() + 2);
            events.push(named(index, &event));
        }
    }
    events
}

fn error(slot: usize) -> Event {
    let message = Refusal::overloaded().message;
    named(
        slot,
        &json!({"type": "error", "sequence_number": slot, "code": "server_error",
        "message": message, "param": null}),
    )
}
