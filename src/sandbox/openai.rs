//! OpenAI's chat completions, legacy completions and list of models.

use serde_json::{Value, json};

use super::{
    answer::{Answer, Turn},
    ask::{self, Ask, MustCall},
    events::{self, Event, assemble, quoted},
    refusal::Refusal,
    said::{Call, Content, Finish, Said, Used, say, within_bounds},
};

/// `POST /v1/chat/completions`
pub fn chat(turn: &mut Turn<'_>) -> Result<Answer, Refusal> {
    let ask = read_chat(turn.body)?;
    let choices = ask::choices(turn.body)?;
    let said = say(&ask, turn.model, turn.script);
    if ask::flag(turn.body, "stream")? {
        return Ok(Answer::stream(chat_stream(turn, said, choices)));
    }
    within_bounds(&said, choices)?;
    let choices: Vec<Value> = (0..choices).map(|index| chat_choice(turn, &said, index)).collect();
    let mut body = frame(turn, "chatcmpl-", "chat.completion");
    body["choices"] = Value::Array(choices);
    if turn.script.usage {
        body["usage"] = usage(said.used);
    }
    Ok(Answer::json(&body))
}

/// `POST /v1/completions`
pub fn completions(turn: &mut Turn<'_>) -> Result<Answer, Refusal> {
    let prompt = turn.body.get("prompt").ok_or_else(|| Refusal::missing("prompt"))?;
    let mut ask = Ask::default();
    ask.hear("user", prompt);
    ask.max_tokens = ask::number(turn.body, "max_tokens")?;
    let said = say(&ask, turn.model, turn.script);
    if ask::flag(turn.body, "stream")? {
        return Ok(Answer::stream(completions_stream(turn, said)));
    }
    within_bounds(&said, 1)?;
    let mut body = frame(turn, "cmpl-", "text_completion");
    body["choices"] = json!([{"text": words(&said), "index": 0, "logprobs": null,
        "finish_reason": finish_reason(said.finish)}]);
    if turn.script.usage {
        body["usage"] = usage(said.used);
    }
    Ok(Answer::json(&body))
}

/// `GET /v1/models`
pub fn models(turn: &Turn<'_>) -> Answer {
    let models: Vec<Value> = MODELS.iter().map(|model| model_card(model, turn.created)).collect();
    Answer::json(&json!({"object": "list", "data": models}))
}

/// `GET /v1/models/NAME`: every name is a model.
pub fn model(turn: &Turn<'_>, name: &str) -> Answer {
    Answer::json(&model_card(name, turn.created))
}

fn model_card(name: &str, created: u64) -> Value {
    json!({"id": name, "object": "model", "created": created, "owned_by": "sandbox"})
}

fn read_chat(body: &Value) -> Result<Ask, Refusal> {
    let mut ask = Ask::default();
    for message in ask::messages(body)? {
        let Some(role) = message["role"].as_str() else {
            return Err(Refusal::missing("messages[].role"));
        };
        ask.hear(role, &message["content"]);
    }
    for tool in body["tools"].as_array().into_iter().flatten() {
        ask.offer(&tool["function"]["name"], &tool["function"]["parameters"]);
    }
    ask.must_call = must_call(&body["tool_choice"], &body["tool_choice"]["function"]["name"]);
    let max_tokens = ask::number(body, "max_tokens")?;
    ask.max_tokens = ask::number(body, "max_completion_tokens")?.or(max_tokens);
    ask.schema = match body["response_format"]["type"].as_str() {
        Some("json_schema") => Some(body["response_format"]["json_schema"]["schema"].clone()),
        Some("json_object") => Some(json!({"properties": {"answer": {"type": "string"}}})),
        _ => None,
    };
    Ok(ask)
}

/// What `tool_choice` insists on, in the forms of chat and of responses.
pub fn must_call(choice: &Value, name: &Value) -> Option<MustCall> {
    match (choice.as_str(), name.as_str()) {
        (Some("required"), _) => Some(MustCall::Any),
        (_, Some(name)) => Some(MustCall::Named(name.to_owned())),
        _ => None,
    }
}

fn chat_choice(turn: &mut Turn<'_>, said: &Said, index: usize) -> Value {
    let message = match &said.content {
        Content::Text(text) => json!({"role": "assistant", "content": text.whole(),
            "refusal": null, "annotations": []}),
        Content::Calls(calls) => {
            let calls: Vec<Value> = calls.iter().map(|call| whole_call(turn, call)).collect();
            json!({"role": "assistant", "content": null, "refusal": null, "annotations": [],
                "tool_calls": calls})
        }
    };
    json!({"index": index, "message": message, "logprobs": null,
        "finish_reason": finish_reason(said.finish)})
}

fn whole_call(turn: &mut Turn<'_>, call: &Call) -> Value {
    json!({"id": turn.dice.id("call_", 24), "type": "function",
        "function": {"name": call.name, "arguments": call.arguments}})
}

fn chat_stream(turn: &mut Turn<'_>, said: Said, choices: usize) -> events::Events {
    let asked = with_usage(turn);
    let frame = Frame::new(&frame(turn, "chatcmpl-", "chat.completion.chunk"), asked);
    let content = if said.finish == Finish::Calls { "null" } else { "\"\"" };
    let role = format!(r#"{{"role":"assistant","content":{content},"refusal":null}}"#);
    let opening = (0..choices).map(|choice| frame.chat(0, choice, &role, None)).collect();
    let finish = finish_reason(said.finish);
    let closing = |last_slot: usize| {
        let mut closing: Vec<Event> =
            (0..choices).map(|choice| frame.chat(last_slot, choice, "{}", Some(finish))).collect();
        closing.extend(frame.end(last_slot, said.used));
        closing
    };
    match said.content {
        Content::Text(text) => {
            let closing = closing(text.count().saturating_sub(1));
            let content = (0..text.count()).flat_map(move |slot| {
                let delta = format!(r#"{{"content":{}}}"#, quoted(text.chunk(slot)));
                let frame = frame.clone();
                (0..choices).map(move |choice| frame.chat(slot, choice, &delta, None))
            });
            assemble(turn.script, opening, content, closing, error)
        }
        Content::Calls(calls) => {
            let deltas = call_deltas(turn, &calls);
            let closing = closing(deltas.len().saturating_sub(1));
            let content = deltas.into_iter().enumerate().flat_map(move |(slot, delta)| {
                let frame = frame.clone();
                (0..choices).map(move |choice| frame.chat(slot, choice, &delta, None))
            });
            assemble(turn.script, opening, content, closing, error)
        }
    }
}

/// A delta with the name, then the arguments in pieces, call after call.
fn call_deltas(turn: &mut Turn<'_>, calls: &[Call]) -> Vec<String> {
    let mut deltas = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        let begin = json!({"tool_calls": [{"index": index, "id": turn.dice.id("call_", 24),
            "type": "function", "function": {"name": call.name, "arguments": ""}}]});
        deltas.push(begin.to_string());
        deltas.extend(call.pieces().iter().map(|piece| {
            let delta = json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]});
            delta.to_string()
        }));
    }
    deltas
}

fn completions_stream(turn: &mut Turn<'_>, said: Said) -> events::Events {
    let asked = with_usage(turn);
    let frame = Frame::new(&frame(turn, "cmpl-", "text_completion"), asked);
    let Content::Text(text) = said.content else { return Box::new(std::iter::empty()) };
    let last_slot = text.count().saturating_sub(1);
    let mut closing = vec![frame.text(last_slot, "", Some(finish_reason(said.finish)))];
    closing.extend(frame.end(last_slot, said.used));
    let content = (0..text.count()).map(move |slot| frame.text(slot, text.chunk(slot), None));
    assemble(turn.script, Vec::new(), content, closing, error)
}

fn error(slot: usize) -> Event {
    events::data(slot, &Refusal::overloaded().openai())
}

fn with_usage(turn: &Turn<'_>) -> bool {
    turn.script.usage && turn.body["stream_options"]["include_usage"] == true
}

/// The fields that every answer and every chunk begin with.
fn frame(turn: &mut Turn<'_>, prefix: &str, object: &str) -> Value {
    json!({"id": turn.dice.id(prefix, 29), "object": object, "created": turn.created,
        "model": turn.model, "service_tier": "default", "system_fingerprint": "fp_sandbox"})
}

/// What is the same in all chunks of a stream, rendered once: a chunk is then one formatting.
#[derive(Clone)]
struct Frame {
    /// An event without the end of its JSON.
    begin: std::rc::Rc<str>,
    /// Whether usage was asked for: then all other chunks say that they have none.
    with_usage: bool,
}

impl Frame {
    fn new(fields: &Value, with_usage: bool) -> Frame {
        let fields = fields.to_string();
        let begin = format!("data: {}", fields.trim_end_matches('}'));
        Frame { begin: begin.into(), with_usage }
    }

    fn chat(&self, slot: usize, choice: usize, delta: &str, finish: Option<&str>) -> Event {
        let choice = format!(
            r#"{{"index":{choice},"delta":{delta},"logprobs":null,"finish_reason":{}}}"#,
            finish_json(finish)
        );
        self.event(slot, &choice)
    }

    fn text(&self, slot: usize, text: &str, finish: Option<&str>) -> Event {
        let choice = format!(
            r#"{{"text":{},"index":0,"logprobs":null,"finish_reason":{}}}"#,
            quoted(text),
            finish_json(finish)
        );
        self.event(slot, &choice)
    }

    fn event(&self, slot: usize, choice: &str) -> Event {
        let usage = if self.with_usage { r#","usage":null"# } else { "" };
        events::line(slot, format!("{},\"choices\":[{choice}]{usage}}}\n\n", self.begin))
    }

    /// The usage chunk, if asked for, and the mark of the end.
    fn end(&self, slot: usize, used: Used) -> Vec<Event> {
        let usage = usage(used);
        let chunk = format!("{},\"choices\":[],\"usage\":{usage}}}\n\n", self.begin);
        let chunk = self.with_usage.then(|| events::line(slot, chunk));
        let done = events::line(slot, "data: [DONE]\n\n".into());
        chunk.into_iter().chain([done]).collect()
    }
}

fn finish_json(finish: Option<&str>) -> String {
    finish.map_or_else(|| "null".to_owned(), quoted)
}

fn words(said: &Said) -> String {
    match &said.content {
        Content::Text(text) => text.whole(),
        Content::Calls(_) => String::new(),
    }
}

fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Calls => "tool_calls",
    }
}

fn usage(used: Used) -> Value {
    json!({
        "prompt_tokens": used.input,
        "completion_tokens": used.output,
        "total_tokens": used.input + used.output,
        "prompt_tokens_details": {"cached_tokens": used.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": used.reasoning, "audio_tokens": 0,
            "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
    })
}

/// Names that the sandbox lists. It answers to every other name too.
pub const MODELS: &[&str] =
    &["sandbox-chat", "sandbox-echo", "sandbox-embedding", "sandbox-fail-500"];
