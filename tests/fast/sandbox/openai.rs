//! OpenAI's wire formats: the fields that its SDKs read.

use serde_json::{Value, json};
use trunkline::sandbox::Sandbox;

use super::{Reply, Stage, get, post, user};

fn stage() -> Stage {
    Stage::new(Sandbox::new())
}

fn chat(fields: Value) -> Value {
    let mut body = json!({"model": "gpt-x", "messages": user("What is a trunk line?")});
    for (name, value) in fields.as_object().expect("fields") {
        body[name] = value.clone();
    }
    body
}

fn streamed_text(reply: &Reply) -> String {
    let chunks = reply.chunks();
    let pieces = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str());
    pieces.collect()
}

const WEATHER: &str = r#"[{"type": "function", "function": {"name": "get_weather", "parameters":
    {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}]"#;

fn tools() -> Value {
    serde_json::from_str(WEATHER).expect("JSON")
}

#[test]
fn a_plain_chat_has_what_sdks_read() {
    let reply = stage().post("/v1/chat/completions", &chat(json!({})));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["content-type"], "application/json");
    assert!(reply.headers["x-request-id"].starts_with("req_"));
    let body = reply.json();
    assert!(body["id"].as_str().expect("id").starts_with("chatcmpl-"));
    assert_eq!(body["object"], "chat.completion");
    assert_eq!(body["model"], "gpt-x");
    assert_eq!(body["created"], 1_767_225_600);
    let choice = &body["choices"][0];
    assert_eq!((&choice["index"], &choice["finish_reason"]), (&json!(0), &json!("stop")));
    assert_eq!(choice["message"]["role"], "assistant");
    let text = choice["message"]["content"].as_str().expect("text");
    assert!(text.contains("gpt-x") && text.contains("What is a trunk line?"), "{text}");
    let usage = &body["usage"];
    assert_eq!(usage["prompt_tokens"], 6);
    assert_eq!(usage["completion_tokens"], text.len().div_ceil(4));
    assert_eq!(usage["total_tokens"], 6 + text.len().div_ceil(4));
    assert_eq!(usage["prompt_tokens_details"]["cached_tokens"], 0);
}

#[test]
fn a_stream_says_the_same_as_the_plain_answer() {
    let plain = stage().post("/v1/chat/completions", &chat(json!({}))).json();
    let stream = stage().post("/v1/chat/completions", &chat(json!({"stream": true})));
    assert_eq!(streamed_text(&stream), plain["choices"][0]["message"]["content"]);
    let chunks = stream.chunks();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    assert!(chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk"));
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()), "nobody asked");
    let last = &chunks[chunks.len() - 1]["choices"][0];
    assert_eq!((&last["finish_reason"], &last["delta"]), (&json!("stop"), &json!({})));
    assert_eq!(stream.events().last().expect("events").1, "[DONE]");
}

#[test]
fn usage_of_a_stream_comes_in_a_chunk_of_its_own_if_asked_for() {
    let options = json!({"stream": true, "stream_options": {"include_usage": true}});
    let chunks = stage().post("/v1/chat/completions", &chat(options.clone())).chunks();
    let (last, others) = chunks.split_last().expect("chunks");
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["prompt_tokens"], 6);
    assert!(others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()));
    let mut unwilling = chat(options);
    unwilling["model"] = json!("gpt-x?usage=off");
    let chunks = stage().post("/v1/chat/completions", &unwilling).chunks();
    assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
}

#[test]
fn tool_calls_are_parallel_and_whole() {
    let body = chat(json!({"model": "m?tool_calls=2", "tools": tools()}));
    let choice = stage().post("/v1/chat/completions", &body).json()["choices"][0].clone();
    assert_eq!(choice["finish_reason"], "tool_calls");
    assert!(choice["message"]["content"].is_null());
    let calls = choice["message"]["tool_calls"].as_array().expect("calls").clone();
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0]["id"], calls[1]["id"]);
    for call in calls {
        assert_eq!(
            (&call["type"], &call["function"]["name"]),
            (&json!("function"), &json!("get_weather"))
        );
        let arguments = call["function"]["arguments"].as_str().expect("text");
        let arguments: Value = serde_json::from_str(arguments).expect("JSON");
        assert_eq!(arguments, json!({"city": "sandbox", "days": 1}));
    }
}

#[test]
fn streamed_tool_calls_add_up() {
    let body = chat(json!({"model": "m?tool_calls=2", "tools": tools(), "stream": true}));
    let chunks = stage().post("/v1/chat/completions", &body).chunks();
    let mut calls = vec![(String::new(), String::new()); 2];
    for chunk in &chunks {
        for delta in chunk["choices"][0]["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let call = &mut calls[delta["index"].as_u64().expect("index") as usize];
            call.0.push_str(delta["id"].as_str().unwrap_or(""));
            call.1.push_str(delta["function"]["arguments"].as_str().unwrap_or(""));
        }
    }
    assert!(chunks.len() > 6, "the arguments come in pieces");
    for (id, arguments) in calls {
        assert!(id.starts_with("call_"));
        assert_eq!(arguments, r#"{"city":"sandbox","days":1}"#);
    }
    let last = chunks.last().expect("chunks");
    assert_eq!(last["choices"][0]["finish_reason"], "tool_calls");
}

#[test]
fn a_tool_result_is_answered_in_words() {
    let mut body = chat(json!({"model": "m?tool_calls=1", "tools": tools()}));
    body["messages"] = json!([
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
            "function": {"name": "get_weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "18 C"},
    ]);
    let reply = stage().post("/v1/chat/completions", &body).json();
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
}

#[test]
fn what_the_request_asks_for_is_done() {
    let ask = |fields| stage().post("/v1/chat/completions", &chat(fields)).json();
    let several = ask(json!({"n": 3}));
    let indexes: Vec<&Value> =
        several["choices"].as_array().expect("choices").iter().map(|c| &c["index"]).collect();
    assert_eq!(indexes, [0, 1, 2]);
    let short = ask(json!({"max_completion_tokens": 4}));
    assert_eq!(short["choices"][0]["finish_reason"], "length");
    assert_eq!(short["usage"]["completion_tokens"], 4);
    let forced = ask(json!({"tools": tools(), "tool_choice": "required"}));
    assert_eq!(forced["choices"][0]["finish_reason"], "tool_calls");
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "s", "schema": schema}});
    let structured = ask(json!({"response_format": format}));
    assert_eq!(structured["choices"][0]["message"]["content"], r#"{"ok":true}"#);
}

#[test]
fn echo_says_the_question() {
    let question = "line\n\"quoted\" grüße 🚂  end ";
    let body = json!({"model": "sandbox-echo", "messages": user(question), "stream": true});
    assert_eq!(streamed_text(&stage().post("/v1/chat/completions", &body)), question);
}

#[test]
fn legacy_completions_are_plain_and_streamed() {
    let body = json!({"model": "sandbox-echo", "prompt": "one two"});
    let plain = stage().post("/v1/completions", &body).json();
    assert_eq!(plain["object"], "text_completion");
    assert_eq!(plain["choices"][0]["text"], "one two");
    let body = json!({"model": "sandbox-echo", "prompt": "one two", "stream": true});
    let chunks = stage().post("/v1/completions", &body).chunks();
    let text: String = chunks.iter().filter_map(|c| c["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, "one two");
}

#[test]
fn embeddings_depend_on_the_text_alone() {
    let embed = |input: Value| {
        let body = json!({"model": "sandbox-embedding", "input": input});
        stage().post("/v1/embeddings", &body).json()
    };
    let (one, many) = (embed(json!("a")), embed(json!(["b", "a"])));
    assert_eq!(one["data"][0]["embedding"], many["data"][1]["embedding"]);
    assert_ne!(many["data"][0]["embedding"], many["data"][1]["embedding"]);
    assert_eq!(one["data"][0]["embedding"].as_array().map(Vec::len), Some(8));
    assert_eq!((&many["data"][1]["index"], &many["object"]), (&json!(1), &json!("list")));
    assert_eq!(many["usage"]["prompt_tokens"], 1);
    let packed =
        json!({"model": "m", "input": [1, 2], "encoding_format": "base64", "dimensions": 3});
    let packed = stage().post("/v1/embeddings", &packed).json();
    assert_eq!(packed["data"][0]["embedding"].as_str().map(str::len), Some(16));
}

#[test]
fn models_are_listed_and_every_name_is_one() {
    let list = stage().send(get("/v1/models", "")).reply().json();
    assert_eq!((&list["object"], &list["data"][0]["id"]), (&json!("list"), &json!("sandbox-chat")));
    let one = stage().send(get("/v1/models/gpt-x", "")).reply().json();
    assert_eq!((&one["id"], &one["object"]), (&json!("gpt-x"), &json!("model")));
}

#[test]
fn responses_are_plain_and_streamed() {
    let mut body = json!({"model": "sandbox-echo", "input": "one two", "instructions": "be brief"});
    let plain = stage().post("/v1/responses", &body).json();
    assert_eq!((&plain["object"], &plain["status"]), (&json!("response"), &json!("completed")));
    assert_eq!(plain["output"][0]["content"][0]["text"], "one two");
    assert_eq!(plain["usage"]["input_tokens"], 4);
    body["stream"] = json!(true);
    let reply = stage().post("/v1/responses", &body);
    let chunks = reply.chunks();
    for (index, ((name, _), chunk)) in reply.events().iter().zip(&chunks).enumerate() {
        assert_eq!(chunk["sequence_number"], index);
        assert_eq!(chunk["type"], name.as_str());
    }
    let names: Vec<&str> = chunks.iter().filter_map(|chunk| chunk["type"].as_str()).collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names, expected);
    assert_eq!(chunks[9]["response"]["output"][0]["content"][0]["text"], "one two");
}

#[test]
fn responses_call_tools() {
    let tools = json!([{"type": "function", "name": "f", "parameters": {"type": "object"}}]);
    let mut body = json!({"model": "m?tool_calls=1", "input": [{"role": "user", "content":
        [{"type": "input_text", "text": "go"}]}], "tools": tools});
    let plain = stage().post("/v1/responses", &body).json();
    assert_eq!(plain["output"][0]["type"], "function_call");
    body["stream"] = json!(true);
    let chunks = stage().post("/v1/responses", &body).chunks();
    assert_eq!(chunks[3]["type"], "response.function_call_arguments.delta");
    let numbers: Vec<u64> = chunks.iter().filter_map(|c| c["sequence_number"].as_u64()).collect();
    assert_eq!(numbers, (0..7).collect::<Vec<u64>>());
}

#[test]
fn uploads_are_counted() {
    let file = "x".repeat(1000);
    let (small, _) = upload(&file);
    assert_eq!((&small["object"], &small["bytes"]), (&json!("file"), &json!(1000)));
    assert_eq!((&small["filename"], &small["purpose"]), (&json!("a b.jsonl"), &json!("batch")));
    let (large, body_bytes) = upload(&"y".repeat(300_000));
    assert_eq!(large["bytes"], body_bytes, "all of the body, for it was not kept");
}

fn upload(file: &str) -> (Value, usize) {
    let body = format!(
        "--b1\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b1\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"a b.jsonl\"\r\n\
         content-type: text/plain\r\n\r\n{file}\r\n--b1--\r\n"
    );
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: h\r\ncontent-type: multipart/form-data; boundary=b1\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    (stage().send((head + &body).into_bytes()).reply().json(), body.len())
}

#[test]
fn mistakes_get_openais_errors() {
    let error = |request: Vec<u8>| {
        let reply = stage().send(request).reply();
        (reply.status, reply.json()["error"].clone())
    };
    let chat = "/v1/chat/completions";
    let (status, body) = error(post(chat, "", &json!({"messages": user("x")})));
    assert_eq!((status, &body["param"]), (400, &json!("model")));
    assert_eq!(body["message"], "Missing required parameter: 'model'.");
    let (status, body) = error(post(chat, "", &json!({"model": "m"})));
    assert_eq!((status, &body["code"]), (400, &json!("missing_required_parameter")));
    let (status, body) = error(post(chat, "", &json!({"model": "m", "messages": []})));
    assert_eq!((status, &body["type"]), (400, &json!("invalid_request_error")));
    let (status, body) = error(post("/v1/nothing", "", &json!({})));
    assert_eq!((status, &body["message"]), (404, &json!("Invalid URL (POST /v1/nothing)")));
    assert_eq!(error(get(chat, "")).0, 405);
    let (status, body) =
        error(post(chat, "", &json!({"model": "m?rate=7", "messages": user("x")})));
    assert_eq!(status, 400);
    assert_eq!(body["message"], "script: `rate=7` must be a number from 0 to 1");
    let (status, body) = error(post(chat, "x-sandbox-script: cut=x\r\n", &json!({"model": "m"})));
    assert_eq!((status, &body["message"]), (400, &json!("script: `cut=x` must be a whole number")));
}
