// Vercel's AI SDK with its OpenAI and its OpenAI-compatible provider.

import assert from "node:assert/strict";
import test from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import {
    HELLO,
    OPENAI_TARGETS,
    PIXEL,
    SCRIPTS,
    all,
    failure,
    gatewayTest,
    longText,
    puppetOf,
    routeOf,
    sawClientLeave,
    script,
    streamAnswer,
    world,
} from "./world.mjs";

const weather = tool({
    description: "The weather of a city",
    inputSchema: z.object({ city: z.string(), unit: z.string().optional() }),
    execute: async ({ city }) => `mild in ${city}`,
});

const chatModels = (target, model = "gpt-4o", headers = {}) => {
    const { base, fields } = routeOf(target, headers);
    const options = { baseURL: base + "/v1", apiKey: world.keys.app, headers: fields };
    return [
        createOpenAI(options).chat(model),
        createOpenAICompatible({ ...options, name: "trunkline", includeUsage: true })(model),
    ];
};

for (const target of OPENAI_TARGETS) {
    test(`generateText and streamText, ${target}`, async () => {
        for (const model of chatModels(target)) {
            assert.equal((await generateText({ model, prompt: "hello there" })).text, HELLO);
            const stream = streamText({ model, prompt: "hello there" });
            assert.equal((await all(stream.textStream)).join(""), HELLO);
            assert.equal(await stream.finishReason, "stop");
            assert.equal((await stream.usage).inputTokens, 9);
            assert.equal((await stream.usage).outputTokens, 17);
        }
    });

    test(`image, ${target}`, async () => {
        const content = [{ type: "text", text: "what is in this picture" }, { type: "image", image: PIXEL }];
        for (const model of chatModels(target)) {
            const answer = await generateText({ model, messages: [{ role: "user", content }] });
            assert.equal(answer.text, "A single red pixel.");
        }
    });

    test(`unicode and a megabyte there and back, ${puppetOf(target)}`, async () => {
        for (const prompt of [SCRIPTS, longText()]) {
            const [model] = chatModels(puppetOf(target), script("echo").model);
            assert.ok((await generateText({ model, prompt })).text === prompt);
            assert.ok((await all(streamText({ model, prompt }).textStream)).join("") === prompt);
        }
    });

    test(`an object by a schema, ${target}`, async () => {
        const [model] = chatModels(target);
        const schema = z.object({ name: z.string(), age: z.number(), tags: z.array(z.string()) });
        const { output } = await generateText({ model, prompt: "a person as JSON", output: Output.object({ schema }) });
        assert.deepEqual(output, { name: "Ada Lovelace", age: 36, tags: ["math", "engine"] });
    });

    test(`streamed tool calls are run and answered, ${target}`, async () => {
        for (const model of chatModels(target)) {
            const options = { model, prompt: "weather in two cities", tools: { get_weather: weather } };
            const stream = streamText({ ...options, stopWhen: stepCountIs(3) });
            assert.equal((await all(stream.textStream)).join(""), "18 degrees in Paris, 24 in Tokyo.");
            const [first] = await stream.steps;
            assert.deepEqual(first.toolResults.map((r) => r.output), ["mild in Paris", "mild in 東京"]);
        }
    });
}

test("errors keep their status, their words and their retry-after", async () => {
    for (const target of world.direct ? ["puppet-openai"] : ["puppet-openai", "puppet-claude"]) {
        for (const status of [400, 401, 429, 500]) {
            const [model] = chatModels(target, script(`status-${status}`).model);
            const error = await failure(generateText({ model, prompt: "hi", maxRetries: 0 }));
            assert.ok(APICallError.isInstance(error), String(error));
            assert.equal(error.statusCode, status);
            assert.match(error.message, new RegExp(`the puppet says ${status}`));
            assert.equal(error.isRetryable, status >= 429);
            if (status === 429) assert.equal(error.responseHeaders["retry-after"], "7");
        }
    }
});

gatewayTest("the gateway's deadline is a 408", async () => {
    const [model] = chatModels("puppet-openai", script("slow-3000").model, { "request-timeout": "300" });
    const error = await failure(generateText({ model, prompt: "hi", maxRetries: 0 }));
    assert.equal(error.statusCode, 408);
});

gatewayTest("a stream that breaks after content is an error", async () => {
    for (const scenario of ["cut", "stop", "lateerror-529"]) {
        for (const target of ["puppet-openai", "puppet-claude"]) {
            for (const model of chatModels(target, script(scenario).model)) {
                const errors = [];
                const options = { model, prompt: "hi", maxRetries: 0, onError: ({ error }) => errors.push(error) };
                await all(streamText(options).fullStream).catch((error) => errors.push(error));
                assert.match(errors[0]?.message ?? "none", /^the upstream|the stream says 529/, `${scenario} ${target}`);
            }
        }
    }
});

test("an abort reaches the upstream", async () => {
    const [play, controller] = [script("drip"), new AbortController()];
    const [model] = chatModels("puppet-openai", play.model);
    const stream = streamText({ model, prompt: "hi", abortSignal: controller.signal });
    let pieces = 0;
    for await (const _ of stream.textStream) if (++pieces === 5) controller.abort();
    assert.ok(await sawClientLeave(play.token));
});

gatewayTest("fallback from OpenAI to Anthropic, plain and streamed", async () => {
    for (const scenario of ["status-500", "status-429", "html-502"]) {
        for (const index of [0, 1]) {
            const model = () => chatModels(null, script(scenario).model, { config: "rescue" })[index];
            assert.equal((await generateText({ model: model(), prompt: "hello there" })).text, HELLO);
            assert.equal((await all(streamText({ model: model(), prompt: "hello there" }).textStream)).join(""), HELLO);
        }
    }
});

test("two hundred streams at once", async () => {
    const [model] = chatModels("mock-openai");
    const wanted = Array.from({ length: world.streams }, (_, i) => streamAnswer(i));
    const texts = await Promise.all(
        wanted.map(async ({ question }) => (await all(streamText({ model, prompt: question }).textStream)).join("")),
    );
    assert.deepEqual(texts, wanted.map((w) => w.answer));
});
