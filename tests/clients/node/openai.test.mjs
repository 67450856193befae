// The OpenAI SDK for Node: the same through the gateway, whichever provider answers.

import assert from "node:assert/strict";
import test from "node:test";
import OpenAI, { toFile } from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
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
    openaiClient,
    puppetOf,
    sawClientLeave,
    script,
    seen,
    streamAnswer,
    world,
} from "./world.mjs";

const parameters = { type: "object", properties: { city: { type: "string" }, unit: { type: "string" } }, required: ["city"] };
const WEATHER = { type: "function", function: { name: "get_weather", description: "The weather of a city", parameters } };
const model = "gpt-4o";

for (const target of OPENAI_TARGETS) {
    test(`chat, ${target}`, async () => {
        const answer = await openaiClient(target).chat.completions.create({ model, messages: ask("hello there") });
        assert.equal(answer.choices[0].message.content, HELLO);
        assert.equal(answer.choices[0].finish_reason, "stop");
        assert.equal(answer.usage.total_tokens, 26);
    });

    test(`stream without usage, ${target}`, async () => {
        const chunks = await collect(target, "hello there");
        assert.equal(joined(chunks), HELLO);
        assert.ok(chunks.every((c) => c.choices.length === 1 && !c.usage));
        assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
    });

    test(`stream with usage, ${target}`, async () => {
        const chunks = await collect(target, "hello there", { stream_options: { include_usage: true } });
        assert.deepEqual(chunks.at(-1).choices, []);
        assert.equal(chunks.at(-1).usage.prompt_tokens, 9);
        assert.equal(chunks.at(-1).usage.completion_tokens, 17);
        assert.ok(chunks.slice(0, -1).every((c) => c.choices.length === 1 && !c.usage));
    });

    test(`tool call and its result, ${target}`, async () => {
        const client = openaiClient(target);
        const messages = ask("weather in one city");
        const first = (await client.chat.completions.create({ model, messages, tools: [WEATHER] })).choices[0];
        assert.equal(first.finish_reason, "tool_calls");
        const [call] = first.message.tool_calls;
        assert.deepEqual(JSON.parse(call.function.arguments), { city: "Paris", unit: "celsius" });
        messages.push(first.message, { role: "tool", tool_call_id: call.id, content: "18" });
        const last = await client.chat.completions.create({ model, messages, tools: [WEATHER] });
        assert.equal(last.choices[0].message.content, "It is 18 degrees in Paris.");
    });

    test(`streamed parallel tool calls with the stream helper, ${target}`, async () => {
        const client = openaiClient(target);
        const runner = client.chat.completions.stream({ model, messages: ask("weather in two cities"), tools: [WEATHER] });
        const message = await runner.finalMessage();
        assert.deepEqual(
            message.tool_calls.map((c) => [c.id, JSON.parse(c.function.arguments).city]),
            [["call_paris", "Paris"], ["call_tokyo", "東京"]],
        );
    });

    test(`JSON schema output, plain and streamed, ${target}`, async () => {
        const person = z.object({ name: z.string(), age: z.number(), tags: z.array(z.string()) });
        const response_format = zodResponseFormat(person, "person");
        const options = { model, messages: ask("a person as JSON"), response_format };
        const ada = { name: "Ada Lovelace", age: 36, tags: ["math", "engine"] };
        const answer = await openaiClient(target).chat.completions.parse(options);
        assert.deepEqual(answer.choices[0].message.parsed, ada);
        const streamed = await openaiClient(target).chat.completions.stream(options).finalChatCompletion();
        assert.deepEqual(streamed.choices[0].message.parsed, ada);
    });

    test(`image, ${target}`, async () => {
        const content = [
            { type: "text", text: "what is in this picture" },
            { type: "image_url", image_url: { url: PIXEL } },
        ];
        const answer = await openaiClient(target).chat.completions.create({ model, messages: [{ role: "user", content }] });
        assert.equal(answer.choices[0].message.content, "A single red pixel.");
    });

    test(`unicode from the upstream, ${target}`, async () => {
        const options = { model, messages: ask("say it in many scripts") };
        const answer = await openaiClient(target).chat.completions.create(options);
        assert.equal(answer.choices[0].message.content, SCRIPTS);
        assert.equal(joined(await collect(target, "say it in many scripts")), SCRIPTS);
    });

    test(`unicode and a megabyte there and back, ${puppetOf(target)}`, async () => {
        for (const text of [SCRIPTS, longText()]) {
            const options = { model: script("echo").model, messages: ask(text) };
            const answer = await openaiClient(puppetOf(target)).chat.completions.create(options);
            assert.ok(answer.choices[0].message.content === text);
            assert.ok(joined(await collect(puppetOf(target), text, { model: script("echo").model })) === text);
        }
    });

    test(`the upstream sees a client abort a stream, ${puppetOf(target)}`, async () => {
        const play = script("drip");
        const options = { model: play.model, messages: ask("hi"), stream: true };
        const stream = await openaiClient(puppetOf(target)).chat.completions.create(options);
        let pieces = 0;
        for await (const chunk of stream) {
            if (chunk.choices[0]?.delta.content && ++pieces === 5) stream.controller.abort();
        }
        assert.ok(await sawClientLeave(play.token));
    });
}

test("models, embeddings, responses", async () => {
    const client = openaiClient("puppet-openai");
    assert.deepEqual((await client.models.list()).data.map((m) => m.id), ["echo", "drip"]);
    for (const encoding of [{}, { encoding_format: "float" }]) {
        const options = { model: script("embed").model, input: ["a", "b"], ...encoding };
        const answer = await client.embeddings.create(options);
        assert.deepEqual(answer.data[1].embedding, [0.25, -0.5, 0.125, 1.0]);
    }
    const answer = await openaiClient("mock-openai").responses.create({ model, input: "hello there" });
    assert.equal(answer.output_text, HELLO);
    let streamed = "";
    for await (const event of await openaiClient("mock-openai").responses.create({ model, input: "hello there", stream: true })) {
        if (event.type === "response.output_text.delta") streamed += event.delta;
    }
    assert.equal(streamed, HELLO);
});

test("a file is uploaded and fetched", async () => {
    const [client, play] = [openaiClient("puppet-openai"), script("file")];
    const file = await client.files.create({ file: await toFile(Buffer.from("a,b\n1,2\n"), play.token), purpose: "batch" });
    assert.equal(file.id, "file-" + play.token);
    assert.ok((await seen(play.token))[0].body.includes("a,b\n1,2\n"));
    const content = Buffer.from(await (await client.files.content(file.id)).arrayBuffer());
    assert.deepEqual(content, Buffer.concat(Array(16).fill(Buffer.from(Array.from({ length: 256 }, (_, i) => i)))));
});

const STATUSES = [
    [400, OpenAI.BadRequestError],
    [401, OpenAI.AuthenticationError],
    [403, OpenAI.PermissionDeniedError],
    [404, OpenAI.NotFoundError],
    [422, OpenAI.UnprocessableEntityError],
    [429, OpenAI.RateLimitError],
    [500, OpenAI.InternalServerError],
    [529, OpenAI.InternalServerError],
];
for (const [status, raised] of STATUSES) {
    test(`upstream error ${status}`, async () => {
        for (const stream of [false, true]) {
            for (const target of world.direct ? ["puppet-openai"] : ["puppet-openai", "puppet-claude"]) {
                const options = { model: script(`status-${status}`).model, messages: ask("hi"), stream };
                const error = await failure(openaiClient(target).chat.completions.create(options));
                assert.ok(error instanceof raised, String(error));
                assert.equal(error.status, status);
                assert.match(error.message, new RegExp(`the puppet says ${status}`));
                if (status === 429) assert.equal(error.headers.get("retry-after"), "7");
            }
        }
    });
}

test("a client that gives up waiting frees the upstream", async () => {
    for (const stream of [false, true]) {
        const play = script("slow-10000");
        const options = { model: play.model, messages: ask("hi"), stream };
        const error = await failure(openaiClient("puppet-openai").chat.completions.create(options, { timeout: 500 }));
        assert.ok(error instanceof OpenAI.APIConnectionTimeoutError, String(error));
        assert.ok(await sawClientLeave(play.token));
    }
});

test("a client's signal aborts a plain request", async () => {
    const [play, controller] = [script("slow-10000"), new AbortController()];
    const options = { model: play.model, messages: ask("hi") };
    const pending = failure(openaiClient("puppet-openai").chat.completions.create(options, { signal: controller.signal }));
    while ((await seen(play.token)).length === 0);
    controller.abort();
    assert.ok((await pending) instanceof OpenAI.APIUserAbortError);
    assert.ok(await sawClientLeave(play.token));
});

gatewayTest("the gateway's deadline is a 408", async () => {
    const client = openaiClient("puppet-openai", { "request-timeout": "300" });
    const error = await failure(client.chat.completions.create({ model: script("slow-3000").model, messages: ask("hi") }));
    assert.equal(error.constructor, OpenAI.APIError);
    assert.deepEqual([error.status, error.type], [408, "timeout_error"]);
});

gatewayTest("a stream that breaks after content throws", async () => {
    for (const scenario of ["cut", "stop", "lateerror-529"]) {
        for (const target of ["puppet-openai", "puppet-claude"]) {
            const error = await failure(collect(target, "hi", { model: script(scenario).model }));
            assert.ok(error instanceof OpenAI.APIError, `${scenario} ${target}: ${error}`);
        }
    }
});

gatewayTest("a wrong API key", async () => {
    const client = openaiClient("mock-openai", {}, { apiKey: "tl-wrong" });
    const error = await failure(client.chat.completions.create({ model, messages: ask("hello there") }));
    assert.ok(error instanceof OpenAI.AuthenticationError, String(error));
});

gatewayTest("fallback from OpenAI to Anthropic has the same result", async () => {
    for (const scenario of ["status-500", "status-429", "html-502"]) {
        const client = openaiClient(null, { config: "rescue" });
        const options = { model: script(scenario).model, messages: ask("hello there") };
        const { data, response } = await client.chat.completions.create(options).withResponse();
        assert.equal(data.choices[0].message.content, HELLO);
        assert.equal(response.headers.get("x-portkey-last-used-option-index"), "config.targets[1]");
        const stream = await client.chat.completions.create({ ...options, model: script(scenario).model, stream: true });
        assert.equal(joined(await all(stream)), HELLO);
    }
});

test("two hundred streams at once", async () => {
    const client = openaiClient("mock-openai", {}, { timeout: 60_000 });
    const wanted = Array.from({ length: world.streams }, (_, i) => streamAnswer(i));
    const texts = await Promise.all(
        wanted.map(async ({ question }) => {
            let text = "";
            const stream = await client.chat.completions.create({ model, messages: ask(question), stream: true });
            for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
            return text;
        }),
    );
    assert.deepEqual(texts, wanted.map((w) => w.answer));
});

async function collect(target, text, options = {}) {
    return all(await openaiClient(target).chat.completions.create({ model, messages: ask(text), stream: true, ...options }));
}

const joined = (chunks) => chunks.map((c) => c.choices[0]?.delta.content ?? "").join("");
