"""Bytes are sacred: where both sides speak the same format, what is sent is what arrives, in both directions."""

import json

import httpx
import pytest
from conftest import GATEWAY, KEYS, WORLD, script, seen

pytestmark = pytest.mark.gateway

PATHS = {"puppet-openai": "/v1/chat/completions", "puppet-claude": "/v1/messages"}
ODD = (
    '\n{ "x_first" :[1,2.50, 1e2,-0.0 ,12345678901234567890123, 0.1000000000000000055],\t"model":"MODEL" ,\r\n'
    '"messages":[ {"role" :"user","content":"\\u00e9\\ud83d\\ude00 é😀 \\/ \\u0000"} ], "max_tokens":64,'
    ' "x_null": null,"temperature" :  1.0 , "x_unknown":{"b":1,"a":[{}, [],""]}} \n'
)
both = pytest.mark.parametrize("target", list(PATHS))


def post(target, body, path=None, **headers):
    fields = {
        "authorization": "Bearer " + KEYS["app"],
        "content-type": "application/json",
        "x-portkey-virtual-key": target,
        **{"x-portkey-" + name.replace("_", "-"): value for name, value in headers.items()},
    }
    if "config" in headers:
        del fields["x-portkey-virtual-key"]
    return httpx.post(GATEWAY + (path or PATHS[target]), content=body, headers=fields, timeout=20)


@both
def test_a_request_and_its_answer_pass_byte_for_byte(target):
    play = script("echo")
    body = ODD.replace("MODEL", play.model).encode()
    answer = post(target, body)
    (record,) = seen(play.token)
    assert answer.status_code == 200
    assert record["body"] == body
    assert answer.content == record["sent"]
    assert answer.headers["x-request-id"] == "puppet-1"


@both
def test_a_stream_passes_byte_for_byte(target):
    play = script("echo")
    body = ODD.replace("MODEL", play.model).replace(
        '"x_null": null', '"stream" : true,"stream_options":{"include_usage" :true}'
    )
    answer = post(target, body.encode())
    (record,) = seen(play.token)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert record["body"] == body.encode()
    assert answer.content == record["sent"]


@both
@pytest.mark.parametrize("status", [400, 429, 500])
def test_an_error_passes_byte_for_byte(target, status):
    play = script(f"status-{status}")
    answer = post(target, ODD.replace("MODEL", play.model).encode())
    (record,) = seen(play.token)
    assert (answer.status_code, answer.content) == (status, record["sent"])
    assert answer.headers["x-trunkline-error-source"] == "upstream"


def test_an_override_changes_only_its_field():
    play = script("echo")
    body = ODD.replace("MODEL", play.model)
    assert post("puppet-openai", body.encode(), config="cooler").status_code == 200
    (record,) = seen(play.token)
    before, after = body.split("1.0 ,")
    assert record["body"].decode() == before + "0.25 ," + after


def test_an_override_of_a_field_that_is_not_there_adds_it():
    play = script("echo")
    body = '{"model":"%s","messages":[{"role":"user","content":"hi"}],  "x":1e3}' % play.model
    assert post("puppet-openai", body.encode(), config="cooler").status_code == 200
    (record,) = seen(play.token)
    assert json.loads(record["body"]) == json.loads(body) | {"temperature": 0.25}
    assert b'"messages":[{"role":"user","content":"hi"}],  "x":1e3' in record["body"]


def test_usage_is_asked_for_upstream_and_withheld_from_a_client_that_did_not():
    play = script("echo")
    body = '{"model":"%s", "stream":true ,"messages":[{"role":"user","content":"hi"}]}' % play.model
    answer = post("puppet-openai", body.encode())
    (record,) = seen(play.token)
    assert json.loads(record["body"])["stream_options"] == {"include_usage": True}
    events = [event for event in record["sent"].split(b"\n\n") if event]
    (usage,) = [event for event in events if b'"choices": []' in event]
    assert answer.content == record["sent"].replace(usage + b"\n\n", b"")


def test_the_virtual_key_in_the_model_is_taken_off():
    play = script("echo")
    body = '{ "messages":[{"role":"user","content":"hi"}],  "model":"@puppet-openai/%s"}' % play.model
    fields = {"authorization": "Bearer " + KEYS["app"], "content-type": "application/json"}
    httpx.post(GATEWAY + "/v1/chat/completions", content=body.encode(), headers=fields, timeout=20)
    (record,) = seen(play.token)
    assert record["body"].decode() == body.replace("@puppet-openai/", "")


@both
def test_credentials_and_headers_of_the_upstream_request(target):
    play = script("echo")
    body = ODD.replace("MODEL", play.model).encode()
    post(target, body, metadata='{"user":"u1"}', trace_id="trace-7")
    (record,) = seen(play.token)
    headers = record["headers"]
    assert KEYS["app"].encode() not in record["head"]
    carrier = {"puppet-openai": "authorization", "puppet-claude": "x-api-key"}[target]
    assert headers[carrier].removeprefix("Bearer ") == "sk-credential-of-" + target
    assert headers["content-type"] == "application/json"
    assert headers["accept-encoding"] == "identity"
    assert headers["content-length"] == str(len(body))
    assert headers["host"] == WORLD["upstreams"][target].removeprefix("http://")
    assert not [name for name in headers if name.startswith(("x-portkey-", "x-trunkline-"))]
    assert "cookie" not in headers


def test_forwarded_headers_arrive_as_they_were_sent():
    play = script("echo")
    fields = {
        "authorization": "Bearer " + KEYS["app"],
        "content-type": "application/json",
        "x-portkey-virtual-key": "puppet-openai",
        "x-portkey-forward-headers": "X-Team-Name, X-Portkey-Trace-Id, x-api-key",
        "x-api-key": "sk-of-the-caller",
        "x-portkey-trace-id": "trace-8",
        "X-Team-Name": 'blue; a="b"',
        "X-Other": "no",
    }
    body = ODD.replace("MODEL", play.model).encode()
    httpx.post(GATEWAY + "/v1/chat/completions", content=body, headers=fields, timeout=20)
    (record,) = seen(play.token)
    assert record["headers"]["x-team-name"] == 'blue; a="b"'
    assert not {"x-other", "x-portkey-trace-id", "x-api-key"} & set(record["headers"])
    assert record["headers"]["authorization"] == "Bearer sk-credential-of-puppet-openai"


@pytest.mark.parametrize("name", ["authorization", "Host", "content-length", "Connection", "x-portkey-forward-headers"])
def test_headers_that_are_not_forwarded_are_refused(name):
    play = script("echo")
    answer = post("puppet-openai", ODD.replace("MODEL", play.model).encode(), forward_headers=name)
    assert answer.status_code == 400
    assert name.lower() in answer.json()["error"]["message"]
    assert seen(play.token) == []


def test_a_chunked_request_body_arrives_whole():
    play = script("echo")
    body = ODD.replace("MODEL", play.model).encode()
    pieces = (body[i : i + 7] for i in range(0, len(body), 7))
    assert post("puppet-openai", pieces).status_code == 200
    (record,) = seen(play.token)
    assert record["body"] == body


def test_a_passed_through_path_keeps_its_query_and_its_answer():
    play = script("file")
    fields = {"authorization": "Bearer " + KEYS["app"], "x-portkey-virtual-key": "puppet-openai"}
    answer = httpx.get(f"{GATEWAY}/v1/files/{play.token}?limit=2&after=a%2Fb%20c", headers=fields)
    (record,) = seen(play.token)
    assert record["path"] == f"/v1/files/{play.token}?limit=2&after=a%2Fb%20c"
    assert answer.content == record["sent"]


def test_one_connection_carries_many_requests():
    fields = {"authorization": "Bearer " + KEYS["app"], "content-type": "application/json"}
    plays = [script("echo") for _ in range(20)]
    with httpx.Client(base_url=GATEWAY, headers=fields | {"x-portkey-virtual-key": "puppet-openai"}) as client:
        for play in plays:
            answer = client.post("/v1/chat/completions", content=ODD.replace("MODEL", play.model).encode())
            (record,) = seen(play.token)
            assert answer.content == record["sent"]
