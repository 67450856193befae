"""What the tests run in: names, keys and the gateway's configuration. `world.json` carries it to both languages."""

import hashlib
import json
import secrets

MEGABYTE_CHARACTERS = 1_000_000
PARALLEL_STREAMS = 200


def make(ports, direct):
    """The facts that the tests need: URLs and API keys."""
    url = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    upstreams = {
        "mock-openai": url["aimock"],
        "mock-claude": url["aimock"],
        "puppet-openai": url["puppet"],
        "puppet-claude": url["puppet"],
    }
    keys = {name: "tl-" + secrets.token_urlsafe(32) for name in ("app", "claude-app", "narrow-app")}
    return {"url": url, "upstreams": upstreams, "keys": keys, "direct": direct, "streams": PARALLEL_STREAMS}


def gateway_config(world):
    """The configuration file; JSON, which is YAML."""
    return {
        "virtual_keys": {
            name: {
                "provider": "anthropic" if name.endswith("claude") else "openai",
                "api_key": credential(name),
                "base_url": upstream + "/v1",
            }
            for name, upstream in world["upstreams"].items()
        },
        "configs": {
            "plain": {"targets": [{"virtual_key": "mock-openai"}], "strategy": {"mode": "single"}},
            "claude": {"targets": [{"virtual_key": "mock-claude"}], "strategy": {"mode": "single"}},
            "rescue": {
                "strategy": {"mode": "fallback"},
                "targets": [
                    {"virtual_key": "puppet-openai"},
                    {"virtual_key": "mock-claude", "override_params": {"model": "claude-rescue"}},
                ],
            },
            "rescue-echo": {
                "strategy": {"mode": "fallback"},
                "targets": [
                    {"virtual_key": "puppet-openai"},
                    {"virtual_key": "puppet-claude", "override_params": {"model": "echo"}},
                ],
            },
            "retry": {
                "retry": {"attempts": 2, "use_retry_after_header": True},
                "strategy": {"mode": "single"},
                "targets": [{"virtual_key": "puppet-openai"}],
            },
            "cooler": {
                "strategy": {"mode": "single"},
                "targets": [{"virtual_key": "puppet-openai", "override_params": {"temperature": 0.25}}],
            },
            "balance": {
                "strategy": {"mode": "loadbalance"},
                "targets": [{"virtual_key": "mock-openai"}, {"virtual_key": "mock-claude"}],
            },
        },
        "api_keys": [
            {"name": "app", "key_sha256": sha256(world["keys"]["app"]), "config": "plain"},
            {"name": "claude-app", "key_sha256": sha256(world["keys"]["claude-app"]), "config": "claude"},
            {
                "name": "narrow-app",
                "key_sha256": sha256(world["keys"]["narrow-app"]),
                "config": "plain",
                "allow": {"virtual_keys": ["mock-openai"], "models": ["gpt-*"]},
            },
        ],
        "custom_hosts": {"trusted": ["127.0.0.1"]},
    }


def credential(virtual_key):
    """What the gateway must present upstream for this virtual key."""
    return f"sk-credential-of-{virtual_key}"


def fixtures(static):
    """The emulator's fixtures: the written ones, one answer of a megabyte, and an own answer for each parallel stream."""
    megabyte = {"match": {"userMessage": "a megabyte please"}, "response": {"content": "m" * MEGABYTE_CHARACTERS}}
    streams = [
        {
            "match": {"userMessage": f"stream number {i:03}."},
            "response": {"content": f"<{i:03}>" + f" word{i:03}" * 40 + f" </{i:03}>"},
            "latency": 10,
        }
        for i in range(PARALLEL_STREAMS)
    ]
    return {"fixtures": static["fixtures"] + [megabyte | {"chunkSize": 10_000}] + streams}


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def write(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False))
