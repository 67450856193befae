"""The Portkey SDK, unchanged but for its base URL."""

import asyncio
import json
import time

import httpx
import openai
import pytest
from conftest import (
    GATEWAY,
    HELLO,
    KEYS,
    MEGABYTE,
    OPENAI_TARGETS,
    OPEN_GATEWAY,
    PIXEL,
    SCRIPTS,
    WORLD,
    ask,
    openai_client,
    portkey_client,
    saw_client_leave,
    script,
    seen,
)
from portkey_ai import AsyncPortkey, Portkey, createHeaders
from portkey_ai._vendor import openai as errors
from pydantic import BaseModel


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
both = pytest.mark.parametrize("target", OPENAI_TARGETS)
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}


@both
def test_chat(target):
    answer = portkey_client(target).chat.completions.create(model="gpt-4o", messages=ask("hello there"))
    assert answer.choices[0].message.content == HELLO
    assert answer.usage.total_tokens == 26


@both
def test_stream(target):
    chunks = portkey_client(target).chat.completions.create(model="gpt-4o", messages=ask("hello there"), stream=True)
    assert joined(chunks) == HELLO


@both
def test_streamed_usage(target):
    chunks = list(
        portkey_client(target).chat.completions.create(
            model="gpt-4o", messages=ask("hello there"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert (chunks[-1].choices, chunks[-1].usage.prompt_tokens) == ([], 9)


@both
def test_tool_call_and_its_result(target):
    client, messages = portkey_client(target), ask("weather in one city")
    answer = client.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])
    (call,) = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Paris", "unit": "celsius"}
    messages += [
        answer.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "18"},
    ]
    final = client.chat.completions.create(model="gpt-4o", messages=messages, tools=[WEATHER])
    assert final.choices[0].message.content == "It is 18 degrees in Paris."


@both
@pytest.mark.parametrize("stream", [False, True])
def test_parallel_tools(target, stream):
    answer = portkey_client(target).chat.completions.create(
        model="gpt-4o", messages=ask("weather in two cities"), tools=[WEATHER], stream=stream
    )
    if stream:
        arguments = {}
        for chunk in answer:
            for part in chunk.choices[0].delta.tool_calls or []:
                arguments[part.index] = arguments.get(part.index, "") + (part.function.arguments or "")
        texts = [text for _, text in sorted(arguments.items())]
    else:
        texts = [c.function.arguments for c in answer.choices[0].message.tool_calls]
    assert [json.loads(text)["city"] for text in texts] == ["Paris", "東京"]


@both
def test_json_schema_output(target):
    schema = {"name": "person", "schema": Person.model_json_schema(), "strict": True}
    answer = portkey_client(target).chat.completions.create(
        model="gpt-4o",
        messages=ask("a person as JSON"),
        response_format={"type": "json_schema", "json_schema": schema},
    )
    assert Person.model_validate_json(answer.choices[0].message.content).name == "Ada Lovelace"


@both
def test_image(target):
    content = [
        {"type": "text", "text": "what is in this picture"},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]
    messages = [{"role": "user", "content": content}]
    answer = portkey_client(target).chat.completions.create(model="gpt-4o", messages=messages)
    assert answer.choices[0].message.content == "A single red pixel."


@pytest.mark.parametrize("target", ["puppet-" + t.partition("-")[2] for t in OPENAI_TARGETS])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("text", [SCRIPTS, "".join(f"{i:07} " for i in range(MEGABYTE // 8))], ids=["unicode", "1 MB"])
def test_text_there_and_back(target, stream, text):
    answer = portkey_client(target).chat.completions.create(
        model=script("echo").model, messages=ask(text), stream=stream
    )
    assert (joined(answer) if stream else answer.choices[0].message.content) == text


def test_embeddings_and_models():
    client = portkey_client("puppet-openai")
    answer = client.embeddings.create(model=script("embed").model, input=["a", "b"], encoding_format="float")
    assert answer.data[1].embedding == [0.25, -0.5, 0.125, 1.0]
    assert [m.id for m in client.models.list().data] == ["echo", "drip"]


def test_async_client():
    async def run():
        client = portkey_client("mock-openai", AsyncPortkey)
        stream = await client.chat.completions.create(model="gpt-4o", messages=ask("hello there"), stream=True)
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

    assert asyncio.run(run()) == HELLO


@pytest.mark.parametrize(
    "status,raised",
    [
        (400, errors.BadRequestError),
        (401, errors.AuthenticationError),
        (404, errors.NotFoundError),
        (429, errors.RateLimitError),
        (500, errors.InternalServerError),
    ],
)
def test_errors(status, raised):
    with pytest.raises(raised) as caught:
        portkey_client("puppet-openai").chat.completions.create(
            model=script(f"status-{status}").model, messages=ask("hi")
        )
    assert caught.value.status_code == status
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "7"


def test_leaving_a_stream():
    play = script("drip")
    stream = portkey_client("puppet-openai").chat.completions.create(model=play.model, messages=ask("hi"), stream=True)
    next(iter(stream))
    stream.close()
    assert saw_client_leave(play.token, time.time())


@pytest.mark.gateway
def test_the_gateways_headers_trace_and_metadata():
    client = portkey_client("mock-openai", trace_id="trace-42", metadata={"_user": "ada", "team": "blue"})
    headers = client.chat.completions.create(model="gpt-4o", messages=ask("hello there")).get_headers()
    assert headers["trace-id"] == "trace-42"
    assert headers["provider"] == "openai"
    assert headers["retry-attempt-count"] == "0"
    assert headers["last-used-option-index"].startswith("config")
    assert headers["cache-status"] in ("DISABLED", "MISS")


@pytest.mark.gateway
def test_a_trace_id_is_made_when_there_is_none():
    client = portkey_client("mock-openai")
    ids = {
        client.chat.completions.create(model="gpt-4o", messages=ask("hello there")).get_headers()["trace-id"]
        for _ in range(3)
    }
    assert len(ids) == 3 and all(ids)


@pytest.mark.gateway
@pytest.mark.parametrize(
    "config",
    [
        "rescue",
        {
            "strategy": {"mode": "fallback", "on_status_codes": [500]},
            "targets": [
                {"virtual_key": "puppet-openai"},
                {"virtual_key": "mock-claude", "override_params": {"model": "claude-test", "max_tokens": 200}},
            ],
        },
        {
            "strategy": {"mode": "fallback"},
            "targets": [
                {"provider": "@puppet-openai"},
                {"strategy": {"mode": "loadbalance"}, "targets": [{"virtual_key": "mock-claude", "weight": 1}]},
            ],
        },
    ],
    ids=["by name", "inline", "inline, nested"],
)
def test_config(config):
    play = script("status-500")
    answer = portkey_client(config=config).chat.completions.create(model=play.model, messages=ask("hello there"))
    assert answer.choices[0].message.content == HELLO
    assert answer.get_headers()["last-used-option-index"].startswith("config.targets[1]")
    assert len(seen(play.token)) == 1
    play = script("status-500")
    chunks = portkey_client(config=config).chat.completions.create(
        model=play.model, messages=ask("hello there"), stream=True
    )
    assert joined(chunks) == HELLO
    assert len(seen(play.token)) == 1


@pytest.mark.gateway
def test_virtual_key_as_provider_slug():
    answer = portkey_client(provider="@mock-claude").chat.completions.create(model="m", messages=ask("hello there"))
    assert answer.get_headers()["provider"] == "anthropic"


@pytest.mark.gateway
def test_options_of_one_request():
    client = portkey_client("mock-openai")
    answer = client.with_options(trace_id="trace-of-one").chat.completions.create(
        model="gpt-4o", messages=ask("hello there")
    )
    assert answer.get_headers()["trace-id"] == "trace-of-one"


@pytest.mark.gateway
def test_own_key_for_a_provider_and_a_custom_host():
    play = script("echo")
    client = portkey_client(
        provider="openai", Authorization="Bearer sk-of-the-caller", custom_host=WORLD["url"]["puppet"] + "/v1"
    )
    answer = client.chat.completions.create(model=play.model, messages=ask("mine"))
    assert answer.choices[0].message.content == "mine"
    (record,) = seen(play.token)
    assert record["headers"]["authorization"] == "Bearer sk-of-the-caller"
    assert record["path"] == "/v1/chat/completions"
    assert KEYS["app"].encode() not in record["head"]


@pytest.mark.gateway
def test_own_key_for_an_anthropic_upstream():
    play = script("echo")
    client = portkey_client(
        provider="anthropic", Authorization="Bearer sk-of-the-caller", custom_host=WORLD["url"]["puppet"] + "/v1"
    )
    answer = client.chat.completions.create(model=play.model, messages=ask("mine"), max_tokens=50)
    assert answer.choices[0].message.content == "mine"
    (record,) = seen(play.token)
    assert record["headers"]["x-api-key"] == "sk-of-the-caller"
    assert record["path"] == "/v1/messages"


@pytest.mark.gateway
def test_own_key_in_an_inline_config():
    play = script("echo")
    target = {"provider": "openai", "api_key": "sk-in-the-config", "custom_host": WORLD["url"]["puppet"] + "/v1"}
    answer = portkey_client(config=target).chat.completions.create(model=play.model, messages=ask("mine"))
    assert answer.choices[0].message.content == "mine"
    assert seen(play.token)[0]["headers"]["authorization"] == "Bearer sk-in-the-config"


@pytest.mark.gateway
def test_a_provider_without_any_credential_is_refused():
    fields = {"x-portkey-api-key": KEYS["app"], "x-portkey-provider": "openai"}
    body = {"model": "gpt-4o", "messages": ask("hello there")}
    answer = httpx.post(GATEWAY + "/v1/chat/completions", json=body, headers=fields)
    assert answer.status_code == 401
    assert "credential" in answer.json()["error"]["message"]


@pytest.mark.gateway
def test_an_open_gateway_ignores_portkeys_api_key():
    play = script("echo")
    client = Portkey(
        api_key="a-portkey-account",
        base_url=OPEN_GATEWAY + "/v1",
        provider="openai",
        Authorization="Bearer sk-of-the-caller",
        custom_host=WORLD["url"]["puppet"] + "/v1",
    )
    answer = client.chat.completions.create(model=play.model, messages=ask("open"))
    assert answer.choices[0].message.content == "open"
    (record,) = seen(play.token)
    assert record["headers"]["authorization"] == "Bearer sk-of-the-caller"
    assert b"a-portkey-account" not in record["head"]


@pytest.mark.gateway
def test_headers_made_by_portkey_for_the_openai_sdk():
    headers = createHeaders(
        api_key=KEYS["app"], virtual_key="mock-claude", trace_id="trace-9", metadata={"team": "blue"}
    )
    client = openai.OpenAI(base_url=GATEWAY + "/v1", api_key="not-used", default_headers=headers, max_retries=0)
    answer = client.chat.completions.with_raw_response.create(model="m", messages=ask("hello there"))
    assert answer.parse().choices[0].message.content == HELLO
    assert answer.headers["x-portkey-trace-id"] == "trace-9"


@pytest.mark.gateway
def test_a_wrong_api_key():
    with pytest.raises(errors.AuthenticationError):
        portkey_client("mock-openai", api_key="tl-wrong").chat.completions.create(
            model="m", messages=ask("hello there")
        )


@pytest.mark.gateway
def test_the_request_timeout():
    client = portkey_client("puppet-openai", request_timeout=300)
    with pytest.raises(errors.APIStatusError) as caught:
        client.chat.completions.create(model=script("slow-3000").model, messages=ask("hi"))
    assert caught.value.status_code == 408


def test_a_client_that_gives_up_waiting_frees_the_upstream():
    play = script("slow-10000")
    client = portkey_client("puppet-openai").openai_client.with_options(timeout=0.5)
    with pytest.raises(errors.APITimeoutError):
        client.chat.completions.create(model=play.model, messages=ask("hi"))
    assert saw_client_leave(play.token, time.time())


@pytest.mark.gateway
@pytest.mark.parametrize("scenario", ["lateerror-529", "cut", "stop"])
@pytest.mark.parametrize("target", ["puppet-openai", "puppet-claude"])
def test_a_stream_that_breaks_is_an_exception(target, scenario):
    model = script(scenario).model
    with pytest.raises(errors.APIError):
        joined(portkey_client(target).chat.completions.create(model=model, messages=ask("hi"), stream=True))


@pytest.mark.gateway
def test_post_to_any_path():
    answer = portkey_client("puppet-claude").post(
        "/messages", model=script("echo").model, max_tokens=50, messages=ask("straight")
    )
    assert "straight" in str(answer)


@pytest.mark.gateway
@pytest.mark.parametrize("prefix", ["x-portkey-", "x-trunkline-"])
def test_both_names_of_a_header(prefix):
    client = openai_client(None).with_options(default_headers={prefix + "virtual-key": "mock-claude"})
    answer = client.chat.completions.with_raw_response.create(model="m", messages=ask("hello there"))
    assert answer.headers["x-portkey-provider"] == "anthropic"


def joined(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
