"""The OpenAI SDK: what an application does with it works the same through the gateway, whichever provider answers."""

import json

import pytest
from conftest import HELLO, MEGABYTE, OPENAI_TARGETS, PIXEL, SCRIPTS, ask, openai_client, script, seen
from pydantic import BaseModel

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


ADA = Person(name="Ada Lovelace", age=36, tags=["math", "engine"])
both = pytest.mark.parametrize("target", OPENAI_TARGETS)


@both
def test_chat(target):
    answer = openai_client(target).chat.completions.create(model="gpt-4o", messages=ask("hello there"))
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == HELLO
    assert answer.choices[0].finish_reason == "stop"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (9, 17, 26)


@both
def test_stream(target):
    chunks = list(
        openai_client(target).chat.completions.create(model="gpt-4o", messages=ask("hello there"), stream=True)
    )
    assert joined(chunks) == HELLO
    assert sum(bool(c.choices and c.choices[0].delta.content) for c in chunks) > 3
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert len({c.id for c in chunks}) == 1
    assert {c.object for c in chunks} == {"chat.completion.chunk"}


@both
def test_usage_of_a_stream_comes_in_a_last_chunk_when_asked_for(target):
    chunks = list(
        openai_client(target).chat.completions.create(
            model="gpt-4o", messages=ask("hello there"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (9, 17)
    assert all(c.usage is None and c.choices for c in chunks[:-1])


@both
def test_no_usage_chunk_in_a_stream_when_not_asked_for(target):
    chunks = list(
        openai_client(target).chat.completions.create(model="gpt-4o", messages=ask("hello there"), stream=True)
    )
    assert all(c.choices and c.usage is None for c in chunks)


@both
def test_tool_call_and_its_result(target):
    client, messages = openai_client(target), ask("weather in one city")
    answer = client.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls
    assert (call.id, call.type, call.function.name) == ("call_paris", "function", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Paris", "unit": "celsius"}
    messages += [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "18"}]
    final = client.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])
    assert final.choices[0].message.content == "It is 18 degrees in Paris."


@both
def test_parallel_tool_calls_and_their_results(target):
    client, messages = openai_client(target), ask("weather in two cities")
    answer = client.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER], tool_choice="auto")
    calls = answer.choices[0].message.tool_calls
    assert [(c.id, json.loads(c.function.arguments)["city"]) for c in calls] == [
        ("call_paris", "Paris"),
        ("call_tokyo", "東京"),
    ]
    messages.append(answer.choices[0].message)
    messages += [{"role": "tool", "tool_call_id": c.id, "content": "mild"} for c in calls]
    final = client.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])
    assert final.choices[0].message.content == "18 degrees in Paris, 24 in Tokyo."


@both
def test_streamed_parallel_tool_calls(target):
    chunks = openai_client(target).chat.completions.create(
        model="gpt-4o", messages=ask("weather in two cities"), tools=[WEATHER], stream=True
    )
    calls, finish = {}, None
    for chunk in chunks:
        finish = chunk.choices[0].finish_reason or finish
        for part in chunk.choices[0].delta.tool_calls or []:
            call = calls.setdefault(part.index, {"id": "", "name": "", "arguments": ""})
            call["id"] += part.id or ""
            call["name"] += part.function.name or ""
            call["arguments"] += part.function.arguments or ""
    assert finish == "tool_calls"
    assert [(i, c["id"], c["name"]) for i, c in sorted(calls.items())] == [
        (0, "call_paris", "get_weather"),
        (1, "call_tokyo", "get_weather"),
    ]
    assert [json.loads(c["arguments"])["city"] for _, c in sorted(calls.items())] == ["Paris", "東京"]


@both
def test_the_stream_helper_of_the_sdk(target):
    with openai_client(target).chat.completions.stream(
        model="gpt-4o", messages=ask("weather in two cities"), tools=[WEATHER]
    ) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    assert [json.loads(c.function.arguments)["city"] for c in message.tool_calls] == ["Paris", "東京"]


@both
def test_json_schema_output(target):
    answer = openai_client(target).chat.completions.parse(
        model="gpt-4o", messages=ask("a person as JSON"), response_format=Person
    )
    assert answer.choices[0].message.parsed == ADA


@both
def test_streamed_json_schema_output(target):
    with openai_client(target).chat.completions.stream(
        model="gpt-4o", messages=ask("a person as JSON"), response_format=Person
    ) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == ADA


@pytest.mark.gateway
def test_a_json_schema_reaches_an_anthropic_upstream_as_one():
    play = script("echo")
    schema = {"name": "person", "strict": True, "schema": Person.model_json_schema()}
    openai_client("puppet-claude").chat.completions.create(
        model=play.model,
        messages=ask('{"name": "x"}'),
        response_format={"type": "json_schema", "json_schema": schema},
    )
    (record,) = seen(play.token)
    sent = json.loads(record["body"])["output_config"]["format"]
    assert sent["type"] == "json_schema"
    assert sent["schema"]["properties"].keys() == {"name", "age", "tags"}
    assert sent["schema"]["required"] == ["name", "age", "tags"]


@both
def test_image(target):
    content = [
        {"type": "text", "text": "what is in this picture"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
    ]
    answer = openai_client(target).chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": content}]
    )
    assert answer.choices[0].message.content == "A single red pixel."


@pytest.mark.gateway
def test_an_image_reaches_an_anthropic_upstream_as_one():
    play = script("echo")
    content = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": PIXEL}}]
    openai_client("puppet-claude").chat.completions.create(
        model=play.model, messages=[{"role": "user", "content": content}]
    )
    (record,) = seen(play.token)
    assert record["path"] == "/v1/messages"
    (image,) = [part for part in json.loads(record["body"])["messages"][0]["content"] if part["type"] == "image"]
    assert image["source"] == {"type": "base64", "media_type": "image/png", "data": PIXEL.partition(",")[2]}


@both
@pytest.mark.parametrize("stream", [False, True])
def test_unicode_from_the_upstream(target, stream):
    answer = openai_client(target).chat.completions.create(
        model="gpt-4o", messages=ask("say it in many scripts"), stream=stream
    )
    assert (joined(answer) if stream else answer.choices[0].message.content) == SCRIPTS


@pytest.mark.parametrize("target", ["puppet-" + t.partition("-")[2] for t in OPENAI_TARGETS])
@pytest.mark.parametrize("stream", [False, True])
def test_unicode_there_and_back(target, stream):
    play = script("echo")
    answer = openai_client(target).chat.completions.create(model=play.model, messages=ask(SCRIPTS), stream=stream)
    assert (joined(answer) if stream else answer.choices[0].message.content) == SCRIPTS


@pytest.mark.parametrize("target", ["puppet-" + t.partition("-")[2] for t in OPENAI_TARGETS])
@pytest.mark.parametrize("stream", [False, True])
def test_a_megabyte_there_and_back(target, stream):
    play, text = script("echo"), "".join(f"{i:07} " for i in range(MEGABYTE // 8))
    answer = openai_client(target).chat.completions.create(model=play.model, messages=ask(text), stream=stream)
    assert (joined(answer) if stream else answer.choices[0].message.content) == text


@both
def test_a_megabyte_from_the_emulator(target):
    question = "x" * MEGABYTE + " a megabyte please"
    answer = openai_client(target).chat.completions.create(model="gpt-4o", messages=ask(question))
    assert answer.choices[0].message.content == "m" * MEGABYTE


def test_models():
    assert [m.id for m in openai_client("puppet-openai").models.list()] == ["echo", "drip"]


@pytest.mark.gateway
def test_models_of_an_api_key_without_a_target_named():
    page = openai_client(None, key="narrow-app").models.list()
    assert page.object == "list"
    assert all(m.object == "model" and m.id for m in page)


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_embeddings(encoding):
    # Without an encoding the SDK asks for base64 and decodes it.
    options = {"encoding_format": encoding} if encoding else {}
    answer = openai_client("puppet-openai").embeddings.create(model=script("embed").model, input=["a", "b"], **options)
    if encoding == "base64":
        assert [d.embedding for d in answer.data] == ["AACAPgAAAL8AAAA+AAAAAA==", "AACAPgAAAL8AAAA+AACAPw=="]
    else:
        assert [d.embedding for d in answer.data] == [[0.25, -0.5, 0.125, 0.0], [0.25, -0.5, 0.125, 1.0]]
    assert answer.usage.prompt_tokens == 4


def test_embeddings_of_the_emulator():
    answer = openai_client("mock-openai").embeddings.create(
        model="text-embedding-3-small", input="embed me", encoding_format="float"
    )
    assert answer.data[0].embedding == [0.25, -0.5, 0.125, 1.0]


def test_responses():
    answer = openai_client("mock-openai").responses.create(model="gpt-4o", input="hello there")
    assert answer.output_text == HELLO


def test_responses_stream():
    events = list(openai_client("mock-openai").responses.create(model="gpt-4o", input="hello there", stream=True))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == HELLO
    assert events[-1].type == "response.completed"


def test_files():
    client, play = openai_client("puppet-openai"), script("file")
    data = bytes(range(256)) * 400
    uploaded = client.files.create(file=(play.token, data), purpose="batch")
    assert uploaded.id == "file-" + play.token
    (record,) = seen(play.token)
    assert data in record["body"]
    assert record["headers"]["content-type"].startswith("multipart/form-data; boundary=")
    assert client.files.retrieve(uploaded.id).id == uploaded.id
    assert client.files.content(uploaded.id).read() == bytes(range(256)) * 16
    assert client.files.delete(uploaded.id).deleted


@pytest.mark.gateway
def test_the_gateways_headers():
    client = openai_client("mock-claude", trace_id="trace-of-mine")
    answer = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=ask("hello there"))
    headers = answer.headers
    assert headers["x-portkey-trace-id"] == "trace-of-mine"
    assert headers["x-portkey-provider"] == "anthropic"
    assert headers["x-portkey-last-used-option-index"] == "config"
    assert headers["x-portkey-retry-attempt-count"] == "0"
    assert headers["x-portkey-cache-status"] in ("DISABLED", "MISS")
    assert headers["x-trunkline-request-id"]
    assert "gw;dur=" in headers["server-timing"] and "upstream;dur=" in headers["server-timing"]
    assert answer.parse().choices[0].message.content == HELLO


@pytest.mark.gateway
def test_a_virtual_key_in_the_model():
    answer = openai_client(None).chat.completions.with_raw_response.create(
        model="@mock-claude/claude-test", messages=ask("hello there")
    )
    assert answer.headers["x-portkey-provider"] == "anthropic"


@pytest.mark.gateway
def test_the_config_of_the_api_key():
    for key, provider in (("app", "openai"), ("claude-app", "anthropic")):
        client = openai_client(None, key=key)
        answer = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=ask("hello there"))
        assert answer.headers["x-portkey-provider"] == provider
        assert answer.parse().choices[0].message.content == HELLO


def joined(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
