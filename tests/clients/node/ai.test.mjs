// Vercel's AI SDK with its OpenAI and its OpenAI-compatible provider.

import assert from "node:assert/strict";
import test from "node:test";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { HELLO, OPENAI_TARGETS, all, failure, gatewayTest, routeOf, sawClientLeave, script, world } from "./world.mjs";

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

test("an object by a schema", async () => {
    const [model] = chatModels("mock-openai");
    const schema = z.object({ name: z.string(), age: z.number(), tags: z.array(z.string()) });
    const { output } = await generateText({ model, prompt: "a person as JSON", output: Output.object({ schema }) });
    assert.deepEqual(output, { name: "Ada Lovelace", age: 36, tags: ["math", "engine"] });
});

test("errors keep their status and their retry-after", async () => {
    const [model] = chatModels("puppet-openai", script("status-429").model);
    const error = await failure(generateText({ model, prompt: "hi", maxRetries: 0 }));
    assert.ok(APICallError.isInstance(error), String(error));
    assert.equal(error.statusCode, 429);
    assert.equal(error.responseHeaders["retry-after"], "7");
});

test("an abort reaches the upstream", async () => {
    const [play, controller] = [script("drip"), new AbortController()];
    const [model] = chatModels("puppet-openai", play.model);
    const stream = streamText({ model, prompt: "hi", abortSignal: controller.signal });
    let pieces = 0;
    for await (const _ of stream.textStream) if (++pieces === 5) controller.abort();
    assert.ok(await sawClientLeave(play.token));
});

gatewayTest("fallback from OpenAI to Anthropic in a stream", async () => {
    const [model] = chatModels(null, script("status-500").model, { config: "rescue" });
    assert.equal((await all(streamText({ model, prompt: "hello there" }).textStream)).join(""), HELLO);
});
