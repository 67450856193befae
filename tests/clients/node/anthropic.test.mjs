// The Anthropic SDK for Node: the same through the gateway, whichever provider answers.

import assert from "node:assert/strict";
import test from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";
import {
    ANTHROPIC_TARGETS,
    HELLO,
    PIXEL,
    SCRIPTS,
    anthropicClient,
    ask,
    failure,
    gatewayTest,
    longText,
    puppetOf,
    sawClientLeave,
    script,
    streamAnswer,
    world,
} from "./world.mjs";

const WEATHER = {
    name: "get_weather",
    description: "The weather of a city",
    input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const common = { model: "claude-test", max_tokens: 500 };

for (const target of ANTHROPIC_TARGETS) {
    test(`message, ${target}`, async () => {
        const answer = await anthropicClient(target).messages.create({ ...common, messages: ask("hello there") });
        assert.deepEqual([answer.type, answer.role, answer.stop_reason], ["message", "assistant", "end_turn"]);
        assert.equal(answer.content[0].text, HELLO);
        assert.deepEqual([answer.usage.input_tokens, answer.usage.output_tokens], [9, 17]);
    });

    test(`stream, ${target}`, async () => {
        const stream = anthropicClient(target).messages.stream({ ...common, messages: ask("hello there") });
        let text = "";
        stream.on("text", (piece) => (text += piece));
        const final = await stream.finalMessage();
        assert.equal(text, HELLO);
        assert.equal(final.stop_reason, "end_turn");
        assert.equal(final.usage.output_tokens, 17);
    });

    test(`parallel tool calls, plain and streamed, and their results, ${target}`, async () => {
        const client = anthropicClient(target);
        const options = { ...common, tools: [WEATHER], messages: ask("weather in two cities") };
        for (const answer of [await client.messages.create(options), await client.messages.stream(options).finalMessage()]) {
            assert.equal(answer.stop_reason, "tool_use");
            const calls = answer.content.filter((block) => block.type === "tool_use");
            assert.deepEqual(calls.map((c) => [c.id, c.input.city]), [["call_paris", "Paris"], ["call_tokyo", "東京"]]);
            const results = calls.map((c) => ({ type: "tool_result", tool_use_id: c.id, content: "mild" }));
            const messages = [
                ...options.messages,
                { role: "assistant", content: answer.content },
                { role: "user", content: results },
            ];
            const final = await client.messages.create({ ...options, messages });
            assert.equal(final.content[0].text, "18 degrees in Paris, 24 in Tokyo.");
        }
    });

    test(`JSON schema output, ${target}`, async () => {
        const person = z.object({ name: z.string(), age: z.number(), tags: z.array(z.string()) });
        const options = { ...common, messages: ask("a person as JSON"), output_config: { format: zodOutputFormat(person) } };
        const answer = await anthropicClient(target).messages.parse(options);
        assert.deepEqual(answer.parsed_output, { name: "Ada Lovelace", age: 36, tags: ["math", "engine"] });
    });

    test(`image, ${target}`, async () => {
        const source = { type: "base64", media_type: "image/png", data: PIXEL.split(",")[1] };
        const content = [{ type: "image", source }, { type: "text", text: "what is in this picture" }];
        const answer = await anthropicClient(target).messages.create({ ...common, messages: [{ role: "user", content }] });
        assert.equal(answer.content[0].text, "A single red pixel.");
    });

    test(`unicode and a megabyte there and back, ${puppetOf(target)}`, async () => {
        for (const text of [SCRIPTS, longText()]) {
            const client = anthropicClient(puppetOf(target));
            const options = () => ({ model: script("echo").model, max_tokens: 5000, messages: ask(text) });
            assert.ok((await client.messages.create(options())).content[0].text === text);
            assert.ok((await client.messages.stream(options()).finalText()) === text);
        }
    });

    test(`the upstream sees a client abort a stream, ${puppetOf(target)}`, async () => {
        const play = script("drip");
        const options = { model: play.model, max_tokens: 50, messages: ask("hi"), stream: true };
        const stream = await anthropicClient(puppetOf(target)).messages.create(options);
        let pieces = 0;
        for await (const event of stream) {
            if (event.type === "content_block_delta" && ++pieces === 5) stream.controller.abort();
        }
        assert.ok(await sawClientLeave(play.token));
    });
}

test("count tokens", async () => {
    const answer = await anthropicClient("puppet-claude").messages.countTokens({ model: "count", messages: ask("hi") });
    assert.equal(answer.input_tokens, 42);
});

const STATUSES = [
    [400, Anthropic.BadRequestError],
    [401, Anthropic.AuthenticationError],
    [403, Anthropic.PermissionDeniedError],
    [404, Anthropic.NotFoundError],
    [429, Anthropic.RateLimitError],
    [500, Anthropic.InternalServerError],
    [529, Anthropic.InternalServerError],
];
for (const [status, raised] of STATUSES) {
    test(`upstream error ${status}`, async () => {
        for (const stream of [false, true]) {
            for (const target of world.direct ? ["puppet-claude"] : ["puppet-claude", "puppet-openai"]) {
                const options = { ...common, model: script(`status-${status}`).model, messages: ask("hi"), stream };
                const error = await failure(anthropicClient(target).messages.create(options));
                assert.ok(error instanceof raised, String(error));
                assert.equal(error.status, status);
                assert.match(error.message, new RegExp(`the puppet says ${status}`));
                if (status === 429) assert.equal(error.headers.get("retry-after"), "7");
            }
        }
    });
}

test("a client that gives up waiting frees the upstream", async () => {
    const play = script("slow-10000");
    const options = { ...common, model: play.model, messages: ask("hi") };
    const error = await failure(anthropicClient("puppet-claude").messages.create(options, { timeout: 500 }));
    assert.ok(error instanceof Anthropic.APIConnectionTimeoutError, String(error));
    assert.ok(await sawClientLeave(play.token));
});

gatewayTest("the gateway's deadline is a 408", async () => {
    const client = anthropicClient("puppet-claude", { "request-timeout": "300" });
    const options = { ...common, model: script("slow-3000").model, messages: ask("hi") };
    assert.equal((await failure(client.messages.create(options))).status, 408);
});

gatewayTest("a stream that breaks after content throws", async () => {
    for (const scenario of ["cut", "stop", "lateerror-529"]) {
        for (const target of ["puppet-claude", "puppet-openai"]) {
            const options = { ...common, model: script(scenario).model, messages: ask("hi") };
            const error = await failure(anthropicClient(target).messages.stream(options).finalMessage());
            assert.ok(error instanceof Anthropic.APIError, `${scenario} ${target}: ${error}`);
        }
    }
});

gatewayTest("a wrong API key", async () => {
    const client = anthropicClient("mock-claude", {}, { apiKey: "tl-wrong" });
    const error = await failure(client.messages.create({ ...common, messages: ask("hello there") }));
    assert.ok(error instanceof Anthropic.AuthenticationError, String(error));
});

gatewayTest("fallback from an OpenAI upstream to Anthropic has the same result", async () => {
    const client = anthropicClient(null, { config: "rescue" });
    const options = () => ({ ...common, model: script("status-500").model, messages: ask("hello there") });
    assert.equal((await client.messages.create(options())).content[0].text, HELLO);
    assert.equal(await client.messages.stream(options()).finalText(), HELLO);
});

test("two hundred streams at once", async () => {
    const client = anthropicClient("mock-claude", {}, { timeout: 60_000 });
    const wanted = Array.from({ length: world.streams }, (_, i) => streamAnswer(i));
    const texts = await Promise.all(
        wanted.map(({ question }) => client.messages.stream({ ...common, messages: ask(question) }).finalText()),
    );
    assert.deepEqual(texts, wanted.map((w) => w.answer));
});
