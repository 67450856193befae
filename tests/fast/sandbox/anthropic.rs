//! Anthropic's wire formats: the fields that its SDKs read.

use serde_json::{Value, json};
use trunkline::sandbox::Sandbox;

use super::{Stage, get, post, user};

fn stage() -> Stage {
    Stage::new(Sandbox::new())
}

fn message(fields: Value) -> Value {
    let mut body =
        json!({"model": "claude-x", "max_tokens": 1000, "messages": user("Why trains?")});
    for (name, value) in fields.as_object().expect("fields") {
        body[name] = value.clone();
    }
    body
}

fn tools() -> Value {
    json!([{"name": "get_weather", "input_schema":
        {"type": "object", "properties": {"city": {"type": "string"}}}}])
}

#[test]
fn a_plain_message_has_what_sdks_read() {
    let reply = stage().post("/v1/messages", &message(json!({"system": "Be kind."})));
    assert_eq!(reply.status, 200);
    assert!(reply.headers["request-id"].starts_with("req_"));
    let body = reply.json();
    assert!(body["id"].as_str().expect("id").starts_with("msg_"));
    assert_eq!((&body["type"], &body["role"]), (&json!("message"), &json!("assistant")));
    assert_eq!((&body["model"], &body["stop_reason"]), (&json!("claude-x"), &json!("end_turn")));
    assert!(body["stop_sequence"].is_null());
    assert_eq!(body["content"][0]["type"], "text");
    let text = body["content"][0]["text"].as_str().expect("text");
    assert!(text.contains("Why trains?"), "{text}");
    assert_eq!(body["usage"]["input_tokens"], 5);
    assert_eq!(body["usage"]["output_tokens"], text.len().div_ceil(4));
    assert_eq!(body["usage"]["cache_read_input_tokens"], 0);
}

#[test]
fn a_stream_has_the_events_in_their_order() {
    let body = message(json!({"model": "sandbox-echo", "stream": true}));
    let reply = stage().post("/v1/messages", &body);
    let events = reply.events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, expected);
    let chunks = reply.chunks();
    assert!(chunks.iter().zip(names).all(|(chunk, name)| chunk["type"] == name));
    let start = &chunks[0]["message"];
    assert_eq!((&start["content"], &start["stop_reason"]), (&json!([]), &json!(null)));
    assert_eq!(start["usage"]["input_tokens"], 3);
    let text: String = chunks.iter().filter_map(|chunk| chunk["delta"]["text"].as_str()).collect();
    assert_eq!(text, "Why trains?");
    assert_eq!(chunks[6]["delta"], json!({"stop_reason": "end_turn", "stop_sequence": null}));
    assert_eq!(chunks[6]["usage"]["output_tokens"], 3);
}

#[test]
fn tool_use_is_whole_and_streamed() {
    let body = message(json!({"model": "m?tool_calls=2", "tools": tools()}));
    let plain = stage().post("/v1/messages", &body).json();
    assert_eq!(plain["stop_reason"], "tool_use");
    assert_eq!(plain["content"][1]["type"], "tool_use");
    assert_eq!(plain["content"][1]["input"], json!({"city": "sandbox"}));
    let body = message(json!({"model": "m?tool_calls=2", "tools": tools(), "stream": true}));
    let chunks = stage().post("/v1/messages", &body).chunks();
    let mut inputs = [String::new(), String::new()];
    for chunk in chunks.iter().filter(|chunk| chunk["type"] == "content_block_delta") {
        assert_eq!(chunk["delta"]["type"], "input_json_delta");
        let index = chunk["index"].as_u64().expect("index") as usize;
        inputs[index].push_str(chunk["delta"]["partial_json"].as_str().expect("text"));
    }
    assert_eq!(inputs, [r#"{"city":"sandbox"}"#, r#"{"city":"sandbox"}"#]);
    let stop = &chunks[chunks.len() - 2]["delta"]["stop_reason"];
    assert_eq!(stop, "tool_use");
}

#[test]
fn the_request_decides_about_tools_and_length() {
    let forced =
        message(json!({"tools": tools(), "tool_choice": {"type": "tool", "name": "get_weather"}}));
    let forced = stage().post("/v1/messages", &forced).json();
    assert_eq!(forced["content"][0]["name"], "get_weather");
    let result = json!([{"role": "user", "content": "weather?"}, {"role": "user", "content":
        [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "18 C"}]}]);
    let answered =
        message(json!({"model": "m?tool_calls=1", "tools": tools(), "messages": result}));
    assert_eq!(stage().post("/v1/messages", &answered).json()["stop_reason"], "end_turn");
    let short = stage().post("/v1/messages", &message(json!({"max_tokens": 2}))).json();
    assert_eq!(
        (&short["stop_reason"], &short["usage"]["output_tokens"]),
        (&json!("max_tokens"), &json!(2))
    );
}

#[test]
fn tokens_are_counted_beforehand_as_afterwards() {
    let body = json!({"model": "m", "system": "Be kind.", "messages": user("Why trains?")});
    let counted = stage().post("/v1/messages/count_tokens", &body).json();
    assert_eq!(counted, json!({"input_tokens": 5}));
}

#[test]
fn cached_input_is_counted_beside_the_input() {
    let body = message(json!({"model": "m?cached_tokens=2"}));
    let usage = stage().post("/v1/messages", &body).json()["usage"].clone();
    assert_eq!((&usage["input_tokens"], &usage["cache_read_input_tokens"]), (&json!(1), &json!(2)));
}

#[test]
fn models_have_anthropics_form_for_anthropics_callers() {
    let list = stage().send(get("/v1/models", "anthropic-version: 2023-06-01\r\n")).reply().json();
    assert_eq!((&list["has_more"], &list["data"][0]["type"]), (&json!(false), &json!("model")));
    assert_eq!(list["first_id"], "sandbox-chat");
}

#[test]
fn mistakes_get_anthropics_errors() {
    let error = |request: Vec<u8>| {
        let reply = stage().send(request).reply();
        let body = reply.json();
        assert_eq!(body["type"], "error");
        assert!(body["request_id"].as_str().expect("an id").starts_with("req_"));
        (reply.status, body["error"]["type"].clone(), body["error"]["message"].clone())
    };
    let (status, kind, said) =
        error(post("/v1/messages", "", &json!({"model": "m", "messages": user("x")})));
    assert_eq!((status, kind), (400, json!("invalid_request_error")));
    assert_eq!(said, "max_tokens: Field required");
    let (status, kind, _) =
        error(post("/v1/messages", "", &message(json!({"model": "m?status=529"}))));
    assert_eq!((status, kind), (529, json!("overloaded_error")));
    let (status, _, said) = error(
        b"POST /v1/messages HTTP/1.1\r\nconnection: close\r\ncontent-length: 13\r\n\r\n{\"model\":\"m\"}"
            .to_vec(),
    );
    assert_eq!((status, said), (400, json!("anthropic-version: header is required")));
}
