"""Fallback, retry, balance and conditions, as an application with an OpenAI or Anthropic SDK sees them."""

import json

import openai
import pytest
from conftest import HELLO, anthropic_client, ask, openai_client, portkey_client, script, seen

pytestmark = pytest.mark.gateway

FAILURES = ["status-500", "status-429", "status-401", "status-400", "html-502", "firsterror-529"]
stream_or_not = pytest.mark.parametrize("stream", [False, True])


def chat(client, model, text="hello there", stream=False, **options):
    """The text of an answer and the headers that came with it."""
    raw = client.chat.completions.with_raw_response.create(model=model, messages=ask(text), stream=stream, **options)
    answer = raw.parse()
    if not stream:
        return answer.choices[0].message.content, raw.headers
    return "".join(c.choices[0].delta.content or "" for c in answer if c.choices), raw.headers


@pytest.mark.parametrize("failure", FAILURES)
@stream_or_not
def test_fallback_from_openai_to_anthropic_has_the_same_result(failure, stream):
    if failure.startswith("firsterror") and not stream:
        pytest.skip("a stream's failure")
    play = script(failure)
    text, headers = chat(openai_client(None, config="rescue"), play.model, stream=stream)
    assert text == HELLO
    assert len(seen(play.token)) == 1
    assert headers["x-portkey-provider"] == "anthropic"
    assert headers["x-portkey-last-used-option-index"] == "config.targets[1]"


def test_fallback_gives_a_whole_chat_completion():
    client = openai_client(None, config="rescue")
    answer = client.chat.completions.create(model=script("status-500").model, messages=ask("hello there"))
    assert (answer.object, answer.choices[0].finish_reason) == ("chat.completion", "stop")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (9, 17)
    assert answer.model


def test_fallback_with_tools_in_a_stream():
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": parameters}}]
    with openai_client(None, config="rescue").chat.completions.stream(
        model=script("status-500").model, messages=ask("weather in two cities"), tools=tools
    ) as stream:
        for _ in stream:
            pass
        message = stream.get_final_completion().choices[0].message
    assert [json.loads(c.function.arguments)["city"] for c in message.tool_calls] == ["Paris", "東京"]


@stream_or_not
def test_fallback_for_the_anthropic_sdk(stream):
    client, play = anthropic_client(None, config="rescue"), script("status-500")
    options = {"model": play.model, "max_tokens": 50, "messages": ask("hello there")}
    if stream:
        with client.messages.stream(**options) as events:
            assert "".join(events.text_stream) == HELLO
    else:
        assert client.messages.create(**options).content[0].text == HELLO
    assert len(seen(play.token)) == 1


def test_no_fallback_when_the_first_target_does_well():
    play = script("echo")
    text, headers = chat(openai_client(None, config="rescue"), play.model, "just this")
    assert text == "just this"
    assert headers["x-portkey-last-used-option-index"] == "config.targets[0]"


def test_when_all_targets_fail_the_last_error_is_the_answer():
    first, second = script("status-500"), script("status-429")
    config = {
        "strategy": {"mode": "fallback"},
        "targets": [
            {"virtual_key": "puppet-openai"},
            {"virtual_key": "puppet-openai", "override_params": {"model": second.model}},
        ],
    }
    with pytest.raises(openai.RateLimitError) as caught:
        chat(openai_client(None, config=json.dumps(config)), first.model)
    assert caught.value.response.headers["retry-after"] == "7"
    assert (len(seen(first.token)), len(seen(second.token))) == (1, 1)


def test_on_status_codes_keeps_other_errors():
    play = script("status-400")
    config = {
        "strategy": {"mode": "fallback", "on_status_codes": [500]},
        "targets": [{"virtual_key": "puppet-openai"}, {"virtual_key": "mock-claude"}],
    }
    with pytest.raises(openai.BadRequestError):
        chat(openai_client(None, config=json.dumps(config)), play.model)


def test_a_stream_never_changes_its_provider_after_content():
    play = script("cut")
    stream = openai_client(None, config="rescue").chat.completions.create(
        model=play.model, messages=ask("hello there"), stream=True
    )
    got = ""
    with pytest.raises(openai.APIError):
        for chunk in stream:
            got += chunk.choices[0].delta.content or ""
    assert got == "one two "


@stream_or_not
def test_retries_until_it_works(stream):
    play = script("flaky-2-429")
    text, headers = chat(openai_client(None, config="retry"), play.model, "again", stream)
    assert text == "again"
    assert headers["x-portkey-retry-attempt-count"] == "2"
    assert len(seen(play.token)) == 3


def test_retries_run_out():
    play = script("flaky-9-429")
    with pytest.raises(openai.RateLimitError) as caught:
        chat(openai_client(None, config="retry"), play.model)
    assert caught.value.response.headers["x-portkey-retry-attempt-count"] == "-1"
    assert len(seen(play.token)) == 3


def test_no_retry_of_what_a_retry_does_not_mend():
    play = script("status-400")
    with pytest.raises(openai.BadRequestError):
        chat(openai_client(None, config="retry"), play.model)
    assert len(seen(play.token)) == 1


def test_a_balance_uses_all_targets():
    client = openai_client(None, config="balance")
    answers = [chat(client, "gpt-4o") for _ in range(40)]
    assert {text for text, _ in answers} == {HELLO}
    assert {headers["x-portkey-provider"] for _, headers in answers} == {"openai", "anthropic"}


def test_a_condition_on_metadata_and_on_parameters():
    config = {
        "strategy": {
            "mode": "conditional",
            "conditions": [
                {"query": {"metadata.tier": {"$eq": "gold"}}, "then": "claude"},
                {"query": {"params.temperature": {"$gt": 0.5}}, "then": "claude"},
            ],
            "default": "plain",
        },
        "targets": [{"name": "plain", "virtual_key": "mock-openai"}, {"name": "claude", "virtual_key": "mock-claude"}],
    }

    def provider(metadata, **options):
        client = portkey_client(config=config, metadata=metadata)
        answer = client.chat.completions.create(model="gpt-4o", messages=ask("hello there"), **options)
        return answer.get_headers()["provider"]

    assert provider({"tier": "gold"}) == "anthropic"
    assert provider({"tier": "iron"}) == "openai"
    assert provider({"tier": "iron"}, temperature=0.9) == "anthropic"


def test_what_a_target_cannot_express_makes_it_unfit():
    with pytest.raises(openai.BadRequestError) as caught:
        chat(openai_client("mock-claude"), "claude-test", n=2)
    assert "`n`" in caught.value.message or caught.value.param == "n"
    config = {
        "strategy": {"mode": "fallback"},
        "targets": [{"virtual_key": "mock-claude"}, {"virtual_key": "mock-openai"}],
    }
    _, headers = chat(openai_client(None, config=json.dumps(config)), "gpt-4o", n=2)
    assert headers["x-portkey-last-used-option-index"] == "config.targets[1]"


def test_what_only_tunes_sampling_is_dropped_and_said():
    _, headers = chat(openai_client("mock-claude"), "claude-test", seed=7, frequency_penalty=0.5)
    dropped = {name.strip() for name in headers["x-trunkline-dropped-params"].split(",")}
    assert dropped == {"seed", "frequency_penalty"}
