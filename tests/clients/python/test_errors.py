"""Failures reach the OpenAI and the Anthropic SDK as the exception that an application expects."""

import json
import time

import anthropic
import httpx
import httpx2
import openai
import pytest
from conftest import (
    GATEWAY,
    GONE_SECONDS,
    KEYS,
    anthropic_client,
    ask,
    openai_client,
    saw_client_leave,
    script,
    seen,
)

STATUSES = [
    (400, openai.BadRequestError, anthropic.BadRequestError),
    (401, openai.AuthenticationError, anthropic.AuthenticationError),
    (403, openai.PermissionDeniedError, anthropic.PermissionDeniedError),
    (404, openai.NotFoundError, anthropic.NotFoundError),
    (422, openai.UnprocessableEntityError, anthropic.UnprocessableEntityError),
    (429, openai.RateLimitError, anthropic.RateLimitError),
    (500, openai.InternalServerError, anthropic.InternalServerError),
    (503, openai.InternalServerError, anthropic.ServiceUnavailableError),
    (529, openai.InternalServerError, anthropic.OverloadedError),
]
stream_or_not = pytest.mark.parametrize("stream", [False, True])


def openai_chat(target, model, *, stream=False, timeout=None, **headers):
    client = openai_client(target, **headers)
    client = client.with_options(timeout=timeout) if timeout else client
    answer = client.chat.completions.create(model=model, messages=ask("hi"), stream=stream)
    return list(answer) if stream else answer


def anthropic_chat(target, model, *, stream=False, timeout=None, **headers):
    client = anthropic_client(target, **headers)
    client = client.with_options(timeout=timeout) if timeout else client
    answer = client.messages.create(model=model, max_tokens=50, messages=ask("hi"), stream=stream)
    return list(answer) if stream else answer


@pytest.mark.parametrize("status,raised,_", STATUSES)
@stream_or_not
def test_upstream_errors_in_openai(status, raised, _, stream):
    with pytest.raises(raised) as caught:
        openai_chat("puppet-openai", script(f"status-{status}").model, stream=stream)
    assert type(caught.value) is raised
    assert caught.value.status_code == status
    assert f"the puppet says {status}" in caught.value.message
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "7"
        assert caught.value.response.headers["x-ratelimit-remaining-requests"] == "0"


@pytest.mark.parametrize("status,_,raised", STATUSES)
@stream_or_not
def test_upstream_errors_in_anthropic(status, _, raised, stream):
    with pytest.raises(raised) as caught:
        anthropic_chat("puppet-claude", script(f"status-{status}").model, stream=stream)
    assert type(caught.value) is raised
    assert caught.value.status_code == status
    assert f"the puppet says {status}" in caught.value.message
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "7"


@pytest.mark.gateway
@pytest.mark.parametrize("status,raised_openai,raised_anthropic", STATUSES)
def test_upstream_errors_across_formats(status, raised_openai, raised_anthropic):
    with pytest.raises(raised_openai) as caught:
        openai_chat("puppet-claude", script(f"status-{status}").model)
    assert (caught.value.status_code, type(caught.value)) == (status, raised_openai)
    assert f"the puppet says {status}" in caught.value.message
    with pytest.raises(raised_anthropic) as caught:
        anthropic_chat("puppet-openai", script(f"status-{status}").model)
    assert (caught.value.status_code, type(caught.value)) == (status, raised_anthropic)
    assert f"the puppet says {status}" in caught.value.message
    assert caught.value.body["type"] == "error"


@pytest.mark.gateway
def test_an_error_page_is_wrapped_and_keeps_its_status():
    with pytest.raises(openai.InternalServerError) as caught:
        openai_chat("puppet-openai", script("html-502").model)
    assert caught.value.status_code == 502
    assert caught.value.body["message"] and caught.value.body["type"]
    with pytest.raises(anthropic.InternalServerError) as caught:
        anthropic_chat("puppet-claude", script("html-502").model)
    assert caught.value.status_code == 502
    assert caught.value.body["error"]["type"] == "api_error"


@pytest.mark.gateway
def test_a_wrong_api_key():
    client = openai.OpenAI(base_url=GATEWAY + "/v1", api_key="tl-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=ask("hello there"))
    assert caught.value.body["type"] == "authentication_error"
    assert caught.value.response.headers["x-trunkline-error-source"] == "client"
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    client = anthropic.Anthropic(base_url=GATEWAY, api_key="tl-wrong", max_retries=0)
    with pytest.raises(anthropic.AuthenticationError) as caught:
        client.messages.create(model="claude", max_tokens=50, messages=ask("hello there"))
    assert caught.value.body["error"]["type"] == "authentication_error"


@pytest.mark.gateway
def test_an_api_key_is_held_to_its_allow_lists():
    answer = openai_client(None, key="narrow-app").chat.completions.create(model="gpt-4o", messages=ask("hello there"))
    assert answer.choices[0].message.content
    with pytest.raises(openai.PermissionDeniedError):
        openai_client(None, key="narrow-app").chat.completions.create(model="o3", messages=ask("hello there"))
    with pytest.raises(openai.PermissionDeniedError):
        openai_client("mock-claude", key="narrow-app").chat.completions.create(
            model="gpt-4o", messages=ask("hello there")
        )


@pytest.mark.gateway
def test_a_held_credential_is_not_sent_to_another_host():
    play = script("echo")
    with pytest.raises(openai.PermissionDeniedError):
        openai_chat("mock-openai", play.model, custom_host="http://127.0.0.1:9/v1")
    assert seen(play.token) == []


@pytest.mark.gateway
def test_an_upstream_that_refuses_connections():
    config = {"provider": "openai", "api_key": "sk-own", "custom_host": "http://127.0.0.1:1/v1"}
    with pytest.raises(openai.InternalServerError) as caught:
        openai_chat(None, "gpt-4o", config=json.dumps(config))
    assert caught.value.status_code == 502
    assert caught.value.response.headers["x-trunkline-error-source"] == "network"


@pytest.mark.gateway
def test_a_virtual_key_or_config_that_does_not_exist():
    with pytest.raises(openai.APIStatusError) as caught:
        openai_chat("no-such-key", "gpt-4o")
    assert 400 <= caught.value.status_code < 500
    with pytest.raises(openai.APIStatusError) as caught:
        openai_chat(None, "gpt-4o", config="no-such-config")
    assert 400 <= caught.value.status_code < 500
    with pytest.raises(openai.BadRequestError):
        openai_chat(None, "gpt-4o", config="{not json")


@pytest.mark.gateway
def test_a_body_that_is_not_json():
    headers = {"authorization": "Bearer " + KEYS["app"], "content-type": "application/json"}
    for path in ("/v1/chat/completions", "/v1/messages"):
        answer = httpx.post(GATEWAY + path, headers=headers, content=b'{"model": "gpt-4o", "messages": [}')
        assert answer.status_code == 400
        assert answer.json()["error"]["message"]


@pytest.mark.gateway
@stream_or_not
def test_the_gateways_deadline_is_a_408(stream):
    # The OpenAI SDK has no type of its own for 408; the Anthropic SDK has.
    play = script("slow-3000")
    with pytest.raises(openai.APIStatusError) as caught:
        openai_chat("puppet-openai", play.model, stream=stream, request_timeout="300")
    assert (type(caught.value), caught.value.status_code) == (openai.APIStatusError, 408)
    assert caught.value.body["type"] == "timeout_error"
    assert saw_client_leave(play.token, time.time())
    play = script("slow-3000")
    with pytest.raises(anthropic.RequestTimeoutError) as caught:
        anthropic_chat("puppet-claude", play.model, stream=stream, request_timeout="300")
    assert caught.value.status_code == 408
    assert saw_client_leave(play.token, time.time())


@stream_or_not
@pytest.mark.parametrize(
    "chat,target,raised",
    [
        (openai_chat, "puppet-openai", openai.APITimeoutError),
        (anthropic_chat, "puppet-claude", anthropic.APITimeoutError),
    ],
)
def test_a_client_that_gives_up_waiting_frees_the_upstream(chat, target, raised, stream):
    play = script("slow-10000")
    with pytest.raises(raised):
        chat(target, play.model, stream=stream, timeout=0.5)
    assert saw_client_leave(play.token, time.time()), f"not within {GONE_SECONDS} s"


@pytest.mark.parametrize("chat,target", [(openai_chat, "puppet-openai"), (anthropic_chat, "puppet-claude")])
@pytest.mark.parametrize("scenario", ["lateerror-529", "cut"])
def test_a_stream_that_breaks_is_an_exception(chat, target, scenario):
    with pytest.raises((openai.APIError, anthropic.APIError, httpx.TransportError, httpx2.TransportError)) as caught:
        chat(target, script(scenario).model, stream=True)
    if scenario == "lateerror-529":
        assert "the stream says 529" in str(caught.value)


@pytest.mark.gateway
@pytest.mark.parametrize("chat", [openai_chat, anthropic_chat])
@pytest.mark.parametrize("target", ["puppet-openai", "puppet-claude"])
@pytest.mark.parametrize("scenario", ["lateerror-529", "cut", "stop"])
def test_a_broken_stream_ends_in_an_error_event_of_the_clients_format(chat, target, scenario):
    raised = openai.APIError if chat is openai_chat else anthropic.APIError
    with pytest.raises(raised) as caught:
        chat(target, script(scenario).model, stream=True)
    assert str(caught.value)


@pytest.mark.gateway
@pytest.mark.parametrize("target,status", [("puppet-claude", 529), ("puppet-openai", None)])
def test_a_stream_that_starts_with_an_error_is_an_error_status(target, status):
    # Anthropic's error types stand for a status each; OpenAI's only for "the server's fault".
    with pytest.raises(openai.InternalServerError) as caught:
        openai_chat(target, script("firsterror-529").model, stream=True)
    assert status in (None, caught.value.status_code)
    assert "the stream says 529" in str(caught.value)
    with pytest.raises(anthropic.OverloadedError if status else anthropic.InternalServerError) as caught:
        anthropic_chat(target, script("firsterror-529").model, stream=True)
    assert "the stream says 529" in str(caught.value)
