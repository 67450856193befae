// Clients of every SDK for every virtual key, and the puppet's memory: the Node twin of python/conftest.py.

import { readFileSync } from "node:fs";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { Portkey } from "portkey-ai";

export const world = JSON.parse(readFileSync(process.env.TRUNKLINE_WORLD, "utf8"));
const CLIENT_MS = 20_000;
const GONE_MS = 5_000; // a round trip, on a machine that is busy with other things too

export const MEGABYTE = 1_000_000;
export const PIXEL =
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

// What the emulator answers (upstream/fixtures.json).
const fixtures = JSON.parse(readFileSync(new URL("../upstream/fixtures.json", import.meta.url), "utf8")).fixtures;
const answerTo = (text) => fixtures.find((f) => f.match.userMessage === text).response.content;
export const HELLO = answerTo("hello there");
export const SCRIPTS = answerTo("say it in many scripts");

// A client of OpenAI's format has the same result whichever provider answers, and so has one of Anthropic's.
export const OPENAI_TARGETS = world.direct ? ["mock-openai"] : ["mock-openai", "mock-claude"];
export const ANTHROPIC_TARGETS = world.direct ? ["mock-claude"] : ["mock-claude", "mock-openai"];
export const puppetOf = (target) => target.replace("mock", "puppet");

/** A test that makes sense through the gateway only. */
export function gatewayTest(name, body) {
    test(name, { skip: world.direct && "needs the gateway" }, body);
}

export function openaiClient(target, headers = {}, options = {}) {
    const route = routeOf(target, headers);
    return new OpenAI({ baseURL: route.base + "/v1", apiKey: world.keys.app, ...common(route), ...options });
}

export function anthropicClient(target, headers = {}, options = {}) {
    const route = routeOf(target, headers);
    return new Anthropic({ baseURL: route.base, apiKey: world.keys.app, ...common(route), ...options });
}

export function portkeyClient(options = {}) {
    const base = world.direct ? world.upstreams[options.virtualKey ?? "puppet-openai"] : world.url.gateway;
    return new Portkey({ baseURL: base + "/v1", apiKey: world.keys.app, ...options });
}

export function routeOf(target, headers = {}) {
    const fields = Object.fromEntries(Object.entries(headers).map(([name, value]) => ["x-portkey-" + name, value]));
    if (target) fields["x-portkey-virtual-key"] = target;
    return { base: world.direct ? world.upstreams[target ?? "mock-openai"] : world.url.gateway, fields };
}

const common = (route) => ({ defaultHeaders: route.fields, maxRetries: 0, timeout: CLIENT_MS });

let tokens = 0;

/** A model name for the puppet, and its token. */
export function script(scenario) {
    const token = `n${process.pid}x${tokens++}z`;
    return { model: `${scenario}.${token}`, token };
}

/** What the puppet received with this token. */
export async function seen(token) {
    const records = await (await fetch(`${world.url.puppet}/__puppet/seen?${token}`)).json();
    for (const record of records) {
        for (const name of ["head", "body", "sent"]) record[name] = Buffer.from(record[name], "base64").toString();
    }
    return records;
}

/** Waits until the puppet noticed that its client went away; false if it did not in time. */
export async function sawClientLeave(token) {
    const giveUp = Date.now() + GONE_MS;
    while (!(await seen(token)).some((record) => record.gone_at)) {
        if (Date.now() > giveUp) return false;
        await sleep(20);
    }
    return true;
}

/** Everything that a stream yields. */
export async function all(stream) {
    const items = [];
    for await (const item of stream) items.push(item);
    return items;
}

/** The error of a promise that must fail. */
export async function failure(promise) {
    try {
        await promise;
    } catch (error) {
        return error;
    }
    throw new Error("it did not fail");
}

export const ask = (text) => [{ role: "user", content: text }];

export const longText = () => Array.from({ length: MEGABYTE / 8 }, (_, i) => String(i).padStart(7, "0") + " ").join("");

export const streamAnswer = (i) => {
    const n = String(i).padStart(3, "0");
    return { question: `stream number ${n}.`, answer: `<${n}>` + ` word${n}`.repeat(40) + ` </${n}>` };
};
