"""Streams: clients that go away, many at once, and pieces that arrive as they are sent."""

import asyncio
import time

import anthropic
import httpx
import openai
import portkey_ai
import pytest
from conftest import (
    ANTHROPIC_TARGETS,
    GATEWAY,
    GONE_SECONDS,
    KEYS,
    OPENAI_TARGETS,
    WORLD,
    anthropic_client,
    ask,
    openai_client,
    portkey_client,
    saw_client_leave,
    script,
    seen,
)

BREAKS_AFTER = 5
ALL_STREAMS_SECONDS = 60


@pytest.mark.parametrize("target", ["puppet-" + t.partition("-")[2] for t in OPENAI_TARGETS])
def test_the_upstream_sees_an_openai_client_leave_a_stream(target):
    play = script("drip")
    stream = openai_client(target).chat.completions.create(model=play.model, messages=ask("hi"), stream=True)
    pieces = (c.choices[0].delta.content for c in stream if c.choices)
    assert [p for p, _ in zip((p for p in pieces if p), range(BREAKS_AFTER))] == ["drip "] * BREAKS_AFTER
    stream.close()
    assert saw_client_leave(play.token, time.time()), f"not within {GONE_SECONDS} s"


@pytest.mark.parametrize("target", ["puppet-" + t.partition("-")[2] for t in ANTHROPIC_TARGETS])
def test_the_upstream_sees_an_anthropic_client_leave_a_stream(target):
    play = script("drip")
    with anthropic_client(target).messages.stream(model=play.model, max_tokens=50, messages=ask("hi")) as stream:
        assert [p for p, _ in zip(stream.text_stream, range(BREAKS_AFTER))] == ["drip "] * BREAKS_AFTER
    assert saw_client_leave(play.token, time.time()), f"not within {GONE_SECONDS} s"


@pytest.mark.gateway
def test_a_client_that_leaves_during_the_back_off_is_the_end_of_it():
    play = script("status-500")
    client = openai_client(None, config="retry").with_options(timeout=0.5)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model=play.model, messages=ask("hi"))
    time.sleep(1.5)  # the first back-off is 1 to 1.2 s
    assert len(seen(play.token)) == 1


def test_pieces_arrive_as_they_are_sent():
    # A gateway that collects a stream would show the first piece of an endless one never.
    play = script("drip")
    stream = openai_client("puppet-openai").chat.completions.create(model=play.model, messages=ask("hi"), stream=True)
    times = []
    for _ in stream:
        times.append(time.monotonic())
        if len(times) == 20:
            break
    stream.close()
    gaps = [b - a for a, b in zip(times[1:], times[2:])]
    assert sum(gap > 0.005 for gap in gaps) >= len(gaps) / 2


@pytest.mark.gateway
def test_a_slow_reader_gets_everything():
    play = script("echo")
    text = "".join(f"{i:07} " for i in range(50_000))
    stream = openai_client("puppet-openai").chat.completions.create(model=play.model, messages=ask(text), stream=True)
    got = []
    for number, chunk in enumerate(stream):
        got.append(chunk.choices[0].delta.content or "")
        if number % 100 == 0:
            time.sleep(0.05)
    assert "".join(got) == text


@pytest.mark.gateway
def test_a_stream_that_said_why_it_finished_is_complete_without_an_end_marker():
    play = script("nodone")
    chunks = openai_client("puppet-openai").chat.completions.create(model=play.model, messages=ask("hi"), stream=True)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "one two "
    client = anthropic_client("puppet-openai")
    with client.messages.stream(model=script("nodone").model, max_tokens=50, messages=ask("hi")) as stream:
        final = stream.get_final_message()
    assert (final.content[0].text, final.stop_reason) == ("one two ", "end_turn")


@pytest.mark.parametrize("sdk", ["openai", "anthropic", "portkey"])
def test_two_hundred_streams_at_once(sdk):
    texts = asyncio.run(asyncio.wait_for(all_streams(sdk), ALL_STREAMS_SECONDS))
    assert texts == [f"<{i:03}>" + f" word{i:03}" * 40 + f" </{i:03}>" for i in range(WORLD["streams"])]


async def all_streams(sdk):
    if sdk == "openai":
        client = openai_client("mock-openai", openai.AsyncOpenAI)
        return await gather(client, openai_text)
    if sdk == "portkey":
        client = portkey_client("mock-openai", portkey_ai.AsyncPortkey)
        return await gather(client.openai_client, openai_text)
    client = anthropic_client("mock-claude", anthropic.AsyncAnthropic)
    return await gather(client, anthropic_text)


async def gather(client, text_of):
    async with client.with_options(timeout=ALL_STREAMS_SECONDS) as shared:
        return await asyncio.gather(*(text_of(shared, f"stream number {i:03}.") for i in range(WORLD["streams"])))


async def openai_text(client, question):
    stream = await client.chat.completions.create(model="gpt-4o", messages=ask(question), stream=True)
    return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])


async def anthropic_text(client, question):
    async with client.messages.stream(model="claude-test", max_tokens=500, messages=ask(question)) as stream:
        return "".join([piece async for piece in stream.text_stream])


def test_streams_are_open_together():
    # All are open at one moment: none waits for another one's end.
    async def run():
        client = openai_client("puppet-openai", openai.AsyncOpenAI)
        plays = [script("drip") for _ in range(100)]
        streams = await asyncio.gather(
            *(client.chat.completions.create(model=p.model, messages=ask("hi"), stream=True) for p in plays)
        )
        for stream in streams:
            assert await anext(aiter(stream))
        await asyncio.gather(*(stream.close() for stream in streams))
        return plays

    plays = asyncio.run(asyncio.wait_for(run(), ALL_STREAMS_SECONDS))
    left = time.time()
    assert all(saw_client_leave(play.token, left) for play in plays)


@pytest.mark.gateway
def test_a_client_that_resets_its_connection():
    play = script("drip")
    fields = {"authorization": "Bearer " + KEYS["app"], "x-portkey-virtual-key": "puppet-openai"}
    body = {"model": play.model, "stream": True, "messages": ask("hi")}
    with httpx.stream("POST", GATEWAY + "/v1/chat/completions", json=body, headers=fields) as answer:
        next(answer.iter_raw())
    assert saw_client_leave(play.token, time.time())
