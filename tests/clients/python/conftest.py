"""Clients of every SDK for every virtual key, and the puppet's memory."""

import base64
import itertools
import json
import os
import time
import urllib.request
from types import SimpleNamespace

import anthropic
import openai
import portkey_ai
import pytest

with open(os.environ["TRUNKLINE_WORLD"]) as file:
    WORLD = json.load(file)
DIRECT = WORLD["direct"]
GATEWAY = WORLD["url"]["gateway"]
OPEN_GATEWAY = WORLD["url"]["open"]
KEYS = WORLD["keys"]
CLIENT_SECONDS = 20
GONE_SECONDS = 5  # a round trip, on a machine that is busy with other things too
MEGABYTE = 1_000_000
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="

# What the emulator answers (upstream/fixtures.json).
HELLO = "Hello from the mock! It has several words, so that a stream of it has several pieces."
SCRIPTS = (
    "Emoji 👩‍👩‍👧‍👦🏳️‍🌈🇫🇷 CJK 你好世界 日本語 한국어 RTL שלום مرحبا combining e\u0301 n\u0303 Z̶̢a̵l̷g̸o̷ math 𝒳𝕐"
    ' quote " backslash \\ tab \t newline \n nul-ish \u0001 sep \u2028\u2029 end'
)

# A client of OpenAI's format has the same result whichever provider answers, and so has one of Anthropic's.
OPENAI_TARGETS = ["mock-openai"] if DIRECT else ["mock-openai", "mock-claude"]
ANTHROPIC_TARGETS = ["mock-claude"] if DIRECT else ["mock-claude", "mock-openai"]

_tokens = (f"t{os.getpid()}x{n}z" for n in itertools.count())


def pytest_collection_modifyitems(items):
    for item in items:
        if DIRECT and item.get_closest_marker("gateway"):
            item.add_marker(pytest.mark.skip(reason="needs the gateway"))


def openai_client(target, cls=openai.OpenAI, key="app", **headers):
    """An OpenAI client of one virtual key; `headers` are more `x-portkey-` headers."""
    base, fields = route(target, headers)
    return cls(base_url=base + "/v1", api_key=KEYS[key], default_headers=fields, max_retries=0, timeout=CLIENT_SECONDS)


def anthropic_client(target, cls=anthropic.Anthropic, key="app", **headers):
    base, fields = route(target, headers)
    return cls(base_url=base, api_key=KEYS[key], default_headers=fields, max_retries=0, timeout=CLIENT_SECONDS)


def portkey_client(target=None, cls=portkey_ai.Portkey, **options):
    """A Portkey client; `options` are its own."""
    if target:
        options["virtual_key"] = target
    base = WORLD["upstreams"][target or "puppet-openai"] if DIRECT else GATEWAY
    client = cls(base_url=base + "/v1", **{"api_key": KEYS["app"], **options})
    client.openai_client.max_retries = 0
    return client


def route(target, headers):
    fields = {"x-portkey-" + name.replace("_", "-"): value for name, value in headers.items()}
    if target:
        fields["x-portkey-virtual-key"] = target
    return (WORLD["upstreams"][target or "mock-openai"] if DIRECT else GATEWAY), fields


def script(scenario):
    """A model name for the puppet, and its token."""
    token = next(_tokens)
    return SimpleNamespace(model=f"{scenario}.{token}", token=token)


def seen(token):
    """What the puppet received with this token."""
    with urllib.request.urlopen(f"{WORLD['url']['puppet']}/__puppet/seen?{token}") as answer:
        records = json.load(answer)
    for record in records:
        for name in ("head", "body", "sent"):
            record[name] = base64.b64decode(record[name])
        lines = record["head"].decode("latin-1").split("\r\n")[1:]
        record["headers"] = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
    return records


def saw_client_leave(token, since):
    """Waits until the puppet noticed that its client went away; false if it did not in time."""
    while not any(record["gone_at"] for record in seen(token)):
        if time.time() > since + GONE_SECONDS:
            return False
        time.sleep(0.02)
    return True


def ask(text):
    return [{"role": "user", "content": text}]
