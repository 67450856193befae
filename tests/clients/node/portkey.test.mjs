// The Portkey SDK for Node, unchanged but for its base URL.

import assert from "node:assert/strict";
import test from "node:test";
import OpenAI from "openai";
import { createHeaders } from "portkey-ai";
import {
    HELLO,
    OPENAI_TARGETS,
    PIXEL,
    SCRIPTS,
    all,
    ask,
    failure,
    gatewayTest,
    longText,
    portkeyClient,
    puppetOf,
    sawClientLeave,
    script,
    seen,
    streamAnswer,
    world,
} from "./world.mjs";

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const WEATHER = { type: "function", function: { name: "get_weather", parameters } };
const hello = { model: "gpt-4o", messages: ask("hello there") };

for (const virtualKey of OPENAI_TARGETS) {
    const client = portkeyClient({ virtualKey });
    const create = (options) => client.chat.completions.create({ model: "gpt-4o", ...options });

    test(`chat, stream and usage, ${virtualKey}`, async () => {
        assert.equal((await create(hello)).choices[0].message.content, HELLO);
        const chunks = await all(await create({ ...hello, stream: true, stream_options: { include_usage: true } }));
        assert.equal(joined(chunks), HELLO);
        assert.equal(chunks.at(-1).usage.total_tokens, 26);
    });

    test(`tool call and its result, ${virtualKey}`, async () => {
        const messages = ask("weather in one city");
        const first = (await create({ messages, tools: [WEATHER] })).choices[0];
        const [call] = first.message.tool_calls;
        messages.push(first.message, { role: "tool", tool_call_id: call.id, content: "18" });
        const last = await create({ messages, tools: [WEATHER] });
        assert.equal(last.choices[0].message.content, "It is 18 degrees in Paris.");
    });

    test(`parallel tool calls, plain and streamed, ${virtualKey}`, async () => {
        const options = { messages: ask("weather in two cities"), tools: [WEATHER] };
        const plain = (await create(options)).choices[0].message.tool_calls;
        assert.deepEqual(plain.map((c) => JSON.parse(c.function.arguments).city), ["Paris", "東京"]);
        const streamed = [];
        for await (const chunk of await create({ ...options, stream: true })) {
            for (const part of chunk.choices[0]?.delta.tool_calls ?? []) {
                streamed[part.index] = (streamed[part.index] ?? "") + (part.function.arguments ?? "");
            }
        }
        assert.deepEqual(streamed.map((text) => JSON.parse(text).city), ["Paris", "東京"]);
    });

    test(`JSON schema output, ${virtualKey}`, async () => {
        const schema = { type: "object", properties: { name: { type: "string" } }, required: ["name"], additionalProperties: false };
        const response_format = { type: "json_schema", json_schema: { name: "person", strict: true, schema } };
        const answer = await create({ messages: ask("a person as JSON"), response_format });
        assert.equal(JSON.parse(answer.choices[0].message.content).name, "Ada Lovelace");
    });

    test(`image, ${virtualKey}`, async () => {
        const picture = { type: "image_url", image_url: { url: PIXEL } };
        const content = [{ type: "text", text: "what is in this picture" }, picture];
        const answer = await create({ messages: [{ role: "user", content }] });
        assert.equal(answer.choices[0].message.content, "A single red pixel.");
    });

    test(`unicode and a megabyte there and back, ${puppetOf(virtualKey)}`, async () => {
        const puppet = portkeyClient({ virtualKey: puppetOf(virtualKey) });
        for (const text of [SCRIPTS, longText()]) {
            const options = () => ({ model: script("echo").model, messages: ask(text) });
            const answer = await puppet.chat.completions.create(options());
            assert.ok(answer.choices[0].message.content === text);
            const stream = await puppet.chat.completions.create({ ...options(), stream: true });
            assert.ok(joined(await all(stream)) === text);
        }
    });

    test(`the upstream sees a client abort a stream, ${puppetOf(virtualKey)}`, async () => {
        const play = script("drip");
        const options = { model: play.model, messages: ask("hi"), stream: true };
        const stream = await portkeyClient({ virtualKey: puppetOf(virtualKey) }).chat.completions.create(options);
        for await (const _ of stream) break;
        assert.ok(await sawClientLeave(play.token));
    });
}

test("embeddings and models", async () => {
    const client = portkeyClient({ virtualKey: "puppet-openai" });
    const vectors = await client.embeddings.create({ model: script("embed").model, input: ["a"], encoding_format: "float" });
    assert.deepEqual(vectors.data[0].embedding, [0.25, -0.5, 0.125, 0]);
    assert.deepEqual((await client.models.list()).data.map((m) => m.id), ["echo", "drip"]);
});

test("errors have their status and their retry-after", async () => {
    const client = portkeyClient({ virtualKey: "puppet-openai" });
    for (const status of [400, 401, 404, 429, 500]) {
        const play = script(`status-${status}`);
        const options = { model: play.model, messages: ask("hi") };
        const error = await failure(client.chat.completions.create(options));
        assert.equal(error.status, status);
        assert.match(error.message, new RegExp(`the puppet says ${status}`));
        if (status === 429) assert.equal(header(error, "retry-after"), "7");
        // The SDK tries a 5xx again itself, unless the answer says that it comes from a gateway.
        if (!world.direct) assert.equal((await seen(play.token)).length, 1);
    }
});

gatewayTest("the gateway's deadline is a 408", async () => {
    const client = portkeyClient({ virtualKey: "puppet-openai", requestTimeout: 300 });
    const options = { model: script("slow-3000").model, messages: ask("hi") };
    assert.equal((await failure(client.chat.completions.create(options))).status, 408);
});

gatewayTest("a stream that breaks after content throws", async () => {
    for (const scenario of ["cut", "stop", "lateerror-529"]) {
        for (const virtualKey of ["puppet-openai", "puppet-claude"]) {
            // What breaks at once is an error status, what breaks later an error in the stream.
            const options = { model: script(scenario).model, messages: ask("hi"), stream: true };
            const collect = async () => all(await portkeyClient({ virtualKey }).chat.completions.create(options));
            assert.ok((await failure(collect())).message, `${scenario} ${virtualKey}`);
        }
    }
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
    assert.equal(await provider({ provider: "@mock-claude" }), "anthropic");
    assert.equal(await provider({ config: conditional, metadata: { tier: "gold" } }), "anthropic");
    assert.equal(await provider({ config: conditional, metadata: { tier: "iron" } }), "openai");
});

gatewayTest("fallback from OpenAI to Anthropic, plain and streamed", async () => {
    const client = portkeyClient({ config: "rescue" });
    for (const scenario of ["status-500", "status-429", "html-502"]) {
        const play = script(scenario);
        const answer = await client.chat.completions.create({ model: play.model, messages: ask("hello there") });
        assert.equal(answer.choices[0].message.content, HELLO);
        assert.equal(answer.getHeaders()["last-used-option-index"], "config.targets[1]");
        assert.equal((await seen(play.token)).length, 1);
        const options = { model: script(scenario).model, messages: ask("hello there"), stream: true };
        assert.equal(joined(await all(await client.chat.completions.create(options))), HELLO);
    }
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

test("two hundred streams at once", async () => {
    const client = portkeyClient({ virtualKey: "mock-openai" });
    const wanted = Array.from({ length: world.streams }, (_, i) => streamAnswer(i));
    const texts = await Promise.all(
        wanted.map(async ({ question }) => {
            const options = { model: "gpt-4o", messages: ask(question), stream: true };
            return joined(await all(await client.chat.completions.create(options)));
        }),
    );
    assert.deepEqual(texts, wanted.map((w) => w.answer));
});

const joined = (chunks) => chunks.map((c) => c.choices[0]?.delta.content ?? "").join("");

const header = (error, name) => error.headers?.get?.(name) ?? error.headers?.[name];
