"""The Anthropic SDK: the same through the gateway, whichever provider answers."""

import json

import anthropic
import httpx
import pytest
from conftest import (
    ANTHROPIC_TARGETS,
    GATEWAY,
    HELLO,
    KEYS,
    MEGABYTE,
    OPEN_GATEWAY,
    PIXEL,
    SCRIPTS,
    WORLD,
    anthropic_client,
    ask,
    openai_client,
    script,
    seen,
)
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string"}},
        "required": ["city"],
    },
}
PARIS = {"city": "Paris", "unit": "celsius"}
TOKYO = {"city": "東京", "unit": "celsius"}
COMMON = {"model": "claude-test", "max_tokens": 500}

both = pytest.mark.parametrize("target", ANTHROPIC_TARGETS)
both_puppets = pytest.mark.parametrize("target", ["puppet-" + t.partition("-")[2] for t in ANTHROPIC_TARGETS])


@both
def test_message(target):
    answer = anthropic_client(target).messages.create(**COMMON, system="Be brief.", messages=ask("hello there"))
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn")
    assert [(block.type, block.text) for block in answer.content] == [("text", HELLO)]
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (9, 17)


@both
def test_stream_events(target):
    events = list(anthropic_client(target).messages.create(**COMMON, messages=ask("hello there"), stream=True))
    kinds = [e.type for e in events if e.type != "ping"]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert len(kinds) > 8
    assert "".join(e.delta.text for e in events if e.type == "content_block_delta") == HELLO


@both
def test_the_stream_helper_of_the_sdk(target):
    with anthropic_client(target).messages.stream(**COMMON, messages=ask("hello there")) as stream:
        assert "".join(stream.text_stream) == HELLO
        final = stream.get_final_message()
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == 17


@both
def test_tool_call_and_its_result(target):
    client, messages = anthropic_client(target), ask("weather in one city")
    answer = client.messages.create(**COMMON, messages=messages, tools=[WEATHER])
    assert answer.stop_reason == "tool_use"
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    assert (call.id, call.name, call.input) == ("call_paris", "get_weather", PARIS)
    messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result(call)]}]
    final = client.messages.create(**COMMON, messages=messages, tools=[WEATHER])
    assert final.content[0].text == "It is 18 degrees in Paris."


@both
@pytest.mark.parametrize("stream", [False, True])
def test_parallel_tool_calls_and_their_results(target, stream):
    client, messages = anthropic_client(target), ask("weather in two cities")
    options = COMMON | {"tools": [WEATHER], "tool_choice": {"type": "auto"}}
    if stream:
        with client.messages.stream(**options, messages=messages) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(**options, messages=messages)
    calls = [block for block in answer.content if block.type == "tool_use"]
    assert [(c.id, c.input) for c in calls] == [("call_paris", PARIS), ("call_tokyo", TOKYO)]
    assert answer.stop_reason == "tool_use"
    messages += [
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result(c) for c in calls]},
    ]
    final = client.messages.create(**options, messages=messages)
    assert final.content[0].text == "18 degrees in Paris, 24 in Tokyo."


@both
@pytest.mark.parametrize("stream", [False, True])
def test_json_schema_output(target, stream):
    options = COMMON | {"messages": ask("a person as JSON"), "output_format": Person}
    if stream:
        with anthropic_client(target).messages.stream(**options) as events:
            answer = events.get_final_message()
    else:
        answer = anthropic_client(target).messages.parse(**options)
    assert answer.parsed_output == Person(name="Ada Lovelace", age=36, tags=["math", "engine"])


@pytest.mark.gateway
def test_a_json_schema_reaches_an_openai_upstream_as_one():
    play = script("echo")
    messages = ask('{"name": "x", "age": 1, "tags": []}')
    anthropic_client("puppet-openai").messages.parse(
        model=play.model, max_tokens=50, messages=messages, output_format=Person
    )
    (record,) = seen(play.token)
    sent = json.loads(record["body"])["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["schema"]["properties"].keys() == {"name", "age", "tags"}


@both
def test_image(target):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL.partition(",")[2]}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "what is in this picture"}]
    answer = anthropic_client(target).messages.create(**COMMON, messages=[{"role": "user", "content": content}])
    assert answer.content[0].text == "A single red pixel."


@pytest.mark.gateway
def test_an_image_reaches_an_openai_upstream_as_one():
    play = script("echo")
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL.partition(",")[2]}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "look"}]
    messages = [{"role": "user", "content": content}]
    anthropic_client("puppet-openai").messages.create(model=play.model, max_tokens=50, messages=messages)
    (record,) = seen(play.token)
    assert record["path"] == "/v1/chat/completions"
    (image,) = [p for p in json.loads(record["body"])["messages"][0]["content"] if p["type"] == "image_url"]
    assert image["image_url"]["url"] == PIXEL


@both
@pytest.mark.parametrize("stream", [False, True])
def test_unicode_from_the_upstream(target, stream):
    assert text_of(anthropic_client(target), "claude-test", "say it in many scripts", stream) == SCRIPTS


@both_puppets
@pytest.mark.parametrize("stream", [False, True])
def test_unicode_there_and_back(target, stream):
    assert text_of(anthropic_client(target), script("echo").model, SCRIPTS, stream) == SCRIPTS


@both_puppets
@pytest.mark.parametrize("stream", [False, True])
def test_a_megabyte_there_and_back(target, stream):
    text = "".join(f"{i:07} " for i in range(MEGABYTE // 8))
    assert text_of(anthropic_client(target), script("echo").model, text, stream) == text


def test_count_tokens():
    answer = anthropic_client("puppet-claude").messages.count_tokens(model=script("count").model, messages=ask("hi"))
    assert answer.input_tokens == 42


def test_the_providers_own_headers_reach_the_upstream():
    # Newer SDKs ask for a newer version of the API than gateways default to; theirs must win.
    client, play = anthropic_client("puppet-claude"), script("echo")
    betas = {"anthropic-beta": "one-2025-01-01,two-2025-01-01"}
    client.messages.create(model=play.model, max_tokens=50, messages=ask("hi"), extra_headers=betas)
    (record,) = seen(play.token)
    assert record["headers"]["anthropic-version"] == client.default_headers["anthropic-version"]
    assert record["headers"]["anthropic-beta"] == "one-2025-01-01,two-2025-01-01"


@pytest.mark.gateway
def test_a_translated_request_states_the_version_whose_format_it_has():
    play = script("echo")
    client = openai_client("puppet-claude").with_options(default_headers={"anthropic-version": "2026-10-21"})
    client.chat.completions.create(model=play.model, messages=ask("hi"))
    (record,) = seen(play.token)
    assert record["headers"]["anthropic-version"] == "2023-06-01"


@pytest.mark.gateway
def test_an_openai_upstream_is_told_nothing_of_anthropics_headers():
    play = script("echo")
    client = anthropic_client("puppet-openai")
    client.messages.create(model=play.model, max_tokens=50, messages=ask("hi"), extra_headers={"anthropic-beta": "x-1"})
    (record,) = seen(play.token)
    assert not [name for name in record["headers"] if name.startswith("anthropic")]
    assert record["headers"]["authorization"] == "Bearer sk-credential-of-puppet-openai"


@pytest.mark.gateway
def test_the_gateways_headers():
    answer = anthropic_client("mock-openai").messages.with_raw_response.create(**COMMON, messages=ask("hello there"))
    assert answer.headers["x-portkey-provider"] == "openai"
    assert answer.headers["x-portkey-trace-id"]
    assert answer.headers["x-trunkline-request-id"]


@pytest.mark.gateway
@pytest.mark.parametrize("carrier", ["x-api-key", "authorization", "x-portkey-api-key"])
def test_the_carriers_of_the_api_key(carrier):
    # Older SDKs send `x-api-key`, newer ones a bearer token.
    play = script("echo")
    value = ("Bearer " if carrier == "authorization" else "") + KEYS["app"]
    body = COMMON | {"model": play.model, "messages": ask("hi")}
    fields = {carrier: value, "x-portkey-virtual-key": "puppet-claude"}
    answer = httpx.post(GATEWAY + "/v1/messages", json=body, headers=fields, timeout=20)
    assert answer.json()["content"][0]["text"] == "hi"
    (record,) = seen(play.token)
    assert record["headers"]["x-api-key"] == "sk-credential-of-puppet-claude"
    assert KEYS["app"].encode() not in record["head"]


@pytest.mark.gateway
def test_an_open_gateway_passes_the_callers_own_key_on():
    play = script("echo")
    fields = {"x-portkey-provider": "anthropic", "x-portkey-custom-host": WORLD["url"]["puppet"] + "/v1"}
    client = anthropic.Anthropic(base_url=OPEN_GATEWAY, api_key="sk-ant-own", default_headers=fields, max_retries=0)
    answer = client.messages.create(model=play.model, max_tokens=50, messages=ask("mine"))
    assert answer.content[0].text == "mine"
    (record,) = seen(play.token)
    assert record["headers"]["x-api-key"] == "sk-ant-own"
    assert "authorization" not in record["headers"]


def text_of(client, model, text, stream):
    options = {"model": model, "max_tokens": 500_000, "messages": ask(text)}
    if not stream:
        return client.messages.create(**options, timeout=20).content[0].text
    with client.messages.stream(**options) as events:
        return "".join(events.text_stream)


def result(call):
    return {"type": "tool_result", "tool_use_id": call.id, "content": "mild"}
