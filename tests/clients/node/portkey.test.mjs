// The Portkey SDK for Node, unchanged but for its base URL.

import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";
import { createHeaders } from "portkey-ai";
import { HELLO, SCRIPTS, ask, failure, gatewayTest, portkeyClient, sawClientLeave, script, seen, world } from "./world.mjs";

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const WEATHER = { type: "function", function: { name: "get_weather", parameters } };
const hello = { model: "gpt-4o", messages: ask("hello there") };

test("chat, stream and usage", async () => {
    const client = portkeyClient({ virtualKey: "mock-openai" });
    assert.equal((await client.chat.completions.create(hello)).choices[0].message.content, HELLO);
    const chunks = [];
    const options = { ...hello, stream: true, stream_options: { include_usage: true } };
    for await (const chunk of await client.chat.completions.create(options)) chunks.push(chunk);
    assert.equal(chunks.map((c) => c.choices[0]?.delta.content ?? "").join(""), HELLO);
    assert.equal(chunks.at(-1).usage.total_tokens, 26);
});

test("parallel tool calls, plain and streamed", async () => {
    const client = portkeyClient({ virtualKey: "mock-openai" });
    const options = { model: "gpt-4o", messages: ask("weather in two cities"), tools: [WEATHER] };
    const plain = (await client.chat.completions.create(options)).choices[0].message.tool_calls;
    assert.deepEqual(plain.map((c) => JSON.parse(c.function.arguments).city), ["Paris", "東京"]);
    const streamed = [];
    for await (const chunk of await client.chat.completions.create({ ...options, stream: true })) {
        for (const part of chunk.choices[0]?.delta.tool_calls ?? []) {
            streamed[part.index] = (streamed[part.index] ?? "") + (part.function.arguments ?? "");
        }
    }
    assert.deepEqual(streamed.map((text) => JSON.parse(text).city), ["Paris", "東京"]);
});

test("unicode there and back, embeddings, models", async () => {
    const client = portkeyClient({ virtualKey: "puppet-openai" });
    const answer = await client.chat.completions.create({ model: script("echo").model, messages: ask(SCRIPTS) });
    assert.equal(answer.choices[0].message.content, SCRIPTS);
    const vectors = await client.embeddings.create({ model: script("embed").model, input: ["a"], encoding_format: "float" });
    assert.deepEqual(vectors.data[0].embedding, [0.25, -0.5, 0.125, 0]);
    assert.deepEqual((await client.models.list()).data.map((m) => m.id), ["echo", "drip"]);
});

test("errors have their status", async () => {
    const client = portkeyClient({ virtualKey: "puppet-openai" });
    for (const status of [400, 401, 404, 500]) {
        const options = { model: script(`status-${status}`).model, messages: ask("hi") };
        const error = await failure(client.chat.completions.create(options, { maxRetries: 0 }));
        assert.equal(error.status, status);
    }
});

test("the upstream sees a client abort a stream", async () => {
    const play = script("drip");
    const options = { model: play.model, messages: ask("hi"), stream: true };
    const stream = await portkeyClient({ virtualKey: "puppet-openai" }).chat.completions.create(options);
    for await (const _ of stream) break;
    assert.ok(await sawClientLeave(play.token));
});

gatewayTest("the gateway's headers, trace and metadata", async () => {
    const client = portkeyClient({ virtualKey: "mock-openai", traceID: "trace-42", metadata: { _user: "ada" } });
    const headers = (await client.chat.completions.create(hello)).getHeaders();
    assert.equal(headers["trace-id"], "trace-42");
    assert.equal(headers.provider, "openai");
    assert.equal(headers["retry-attempt-count"], "0");
});

gatewayTest("a config by name and inline, with metadata that decides", async () => {
    const conditional = {
        strategy: {
            mode: "conditional",
            conditions: [{ query: { "metadata.tier": { $eq: "gold" } }, then: "claude" }],
            default: "plain",
        },
        targets: [
            { name: "plain", virtual_key: "mock-openai" },
            { name: "claude", virtual_key: "mock-claude" },
        ],
    };
    const provider = async (options) =>
        (await portkeyClient(options).chat.completions.create(hello)).getHeaders().provider;
    assert.equal(await provider({ config: "claude" }), "anthropic");
    assert.equal(await provider({ config: conditional, metadata: { tier: "gold" } }), "anthropic");
    assert.equal(await provider({ config: conditional, metadata: { tier: "iron" } }), "openai");
    assert.equal(await provider({ provider: "@mock-claude" }), "anthropic");
});

gatewayTest("fallback from OpenAI to Anthropic", async () => {
    const play = script("status-500");
    const client = portkeyClient({ config: "rescue" });
    const answer = await client.chat.completions.create({ model: play.model, messages: ask("hello there") });
    assert.equal(answer.choices[0].message.content, HELLO);
    assert.equal(answer.getHeaders()["last-used-option-index"], "config.targets[1]");
    assert.equal((await seen(play.token)).length, 1);
});

gatewayTest("own key for a provider and a custom host", async () => {
    const own = {
        provider: "openai",
        Authorization: "Bearer sk-of-the-caller",
        customHost: world.url.puppet + "/v1",
    };
    for (const options of [own, { ...own, baseURL: world.url.open + "/v1", apiKey: "a-portkey-account" }]) {
        const play = script("echo");
        const answer = await portkeyClient(options).chat.completions.create({ model: play.model, messages: ask("mine") });
        assert.equal(answer.choices[0].message.content, "mine");
        const [record] = await seen(play.token);
        assert.match(record.head, /authorization: Bearer sk-of-the-caller\r\n/i);
        assert.ok(!record.head.includes(world.keys.app) && !record.head.includes("a-portkey-account"));
    }
});

gatewayTest("headers made by Portkey for the OpenAI SDK", async () => {
    const defaultHeaders = createHeaders({ apiKey: world.keys.app, virtualKey: "mock-claude", traceID: "trace-9" });
    const client = new OpenAI({ baseURL: world.url.gateway + "/v1", apiKey: "not-used", defaultHeaders, maxRetries: 0 });
    const { data, response } = await client.chat.completions.create(hello).withResponse();
    assert.equal(data.choices[0].message.content, HELLO);
    assert.equal(response.headers.get("x-portkey-trace-id"), "trace-9");
    assert.equal(response.headers.get("x-portkey-provider"), "anthropic");
});

gatewayTest("a wrong API key is a 401", async () => {
    const client = portkeyClient({ virtualKey: "mock-openai", apiKey: "tl-wrong" });
    assert.equal((await failure(client.chat.completions.create(hello))).status, 401);
});
