//! A neutral request as an Anthropic Messages body. What only tunes sampling and has no counterpart is dropped and
//! listed; what changes the meaning makes the request unfit, with the field named.
//!
//! A JSON schema goes into `output_config.format`: every model that Anthropic still serves takes it, while the older
//! trick of a forced tool is refused by Opus 5.5, Sonnet 5.5 and Fable 5.1. `json_object` has no counterpart (a schema
//! there must name every key), so it becomes one more line of the system prompt.

use super::{
    messages,
    model::{Claude, claude},
    schema, thinking, tools,
};
use crate::{
    chat::{
        json::Json,
        request::{Content, Format, Request, Role},
    },
    provider::{Rendered, Unfit},
};

/// Writes the body.
pub fn render(request: &Request) -> Result<Rendered, Unfit> {
    refuse_what_changes_meaning(request)?;
    let claude = claude(&request.model);
    let max_tokens = request.max_tokens.unwrap_or(claude.output_tokens_max);
    let plan = thinking::plan(request, claude, max_tokens);
    let mut dropped = dropped_fields(request);
    dropped.extend(&plan.dropped);

    let mut json = Json::new();
    json.open_object().key("model").text(&request.model).key("max_tokens").number(max_tokens);
    write_system(request, &mut json)?;
    messages::write(request, &mut json, &mut dropped)?;
    tools::write(request, claude, &mut json, &mut dropped)?;
    write_output_config(request, plan.effort, &mut json)?;
    if let Some(thinking) = &plan.thinking {
        json.key("thinking").raw(thinking);
    }
    write_sampling(&plan, &mut json);
    write_stop(request, &mut json)?;
    if let Some(user) = &request.user {
        json.key("metadata").open_object().key("user_id").text(user).close_object();
    }
    if request.stream {
        json.key("stream").bool(true);
    }
    json.close_object();

    dropped.sort_unstable();
    dropped.dedup();
    let unknown = request.unknown.iter().map(|(name, _)| name.clone()).collect();
    Ok(Rendered { body: json.into_bytes(), dropped, unknown })
}

/// An [`Unfit`] in one line.
pub fn unfit(field: impl Into<String>, message: impl Into<String>) -> Unfit {
    Unfit { field: field.into(), message: message.into() }
}

fn refuse_what_changes_meaning(request: &Request) -> Result<(), Unfit> {
    if request.n.is_some_and(|n| n != 1) {
        return Err(unfit("n", "Anthropic gives one answer a request"));
    }
    if request.logprobs || request.top_logprobs.is_some_and(|n| n > 0) {
        return Err(unfit("logprobs", "Anthropic gives no log probabilities"));
    }
    if request.audio.is_some() || request.modalities.iter().any(|kind| kind != "text") {
        let field = if request.audio.is_some() { "audio" } else { "modalities" };
        return Err(unfit(field, "Anthropic answers in text only"));
    }
    if request.web_search.is_some() {
        return Err(unfit("web_search_options", "Anthropic searches the web through a tool only"));
    }
    Ok(())
}

/// What has no counterpart and was not at its default anyway.
fn dropped_fields(request: &Request) -> Vec<&'static str> {
    let sampling = &request.sampling;
    let is_set = |value: Option<f64>| value.is_some_and(|value| value != 0.0);
    let mut dropped = Vec::new();
    if sampling.seed.is_some() {
        dropped.push("seed");
    }
    if is_set(sampling.frequency_penalty) {
        dropped.push("frequency_penalty");
    }
    if is_set(sampling.presence_penalty) {
        dropped.push("presence_penalty");
    }
    if sampling.logit_bias.as_deref().is_some_and(|json| json != "{}") {
        dropped.push("logit_bias");
    }
    dropped.extend(request.hints.iter().map(|(name, _)| *name));
    dropped
}

/// System messages wherever they stood, joined in order.
fn write_system(request: &Request, json: &mut Json) -> Result<(), Unfit> {
    let is_system = |role| matches!(role, Role::System | Role::Developer);
    let wants_json = request.format == Format::JsonObject;
    if !wants_json && !request.messages.iter().any(|message| is_system(message.role)) {
        return Ok(());
    }
    let mut block = Json::new();
    block.open_array();
    let mut blocks = 0;
    for message in request.messages.iter().filter(|message| is_system(message.role)) {
        for part in &message.parts {
            let Content::Text(text) = &part.content else {
                return Err(unfit(message.path(part), "a system message must be text here"));
            };
            if !text.trim().is_empty() {
                messages::write_text(text, part.cache_control.as_deref(), &mut block);
                blocks += 1;
            }
        }
    }
    if wants_json {
        messages::write_text(JSON_ONLY, None, &mut block);
        blocks += 1;
    }
    block.close_array();
    if blocks > 0 {
        json.key("system").raw(&String::from_utf8_lossy(&block.into_bytes()));
    }
    Ok(())
}

fn write_output_config(
    request: &Request,
    effort: Option<&str>,
    json: &mut Json,
) -> Result<(), Unfit> {
    let schema = match &request.format {
        Format::JsonSchema { schema, .. } => Some(schema::compile(schema).map_err(|what| {
            unfit("response_format.json_schema.schema", format!("the schema {what}"))
        })?),
        Format::Text | Format::JsonObject => None,
    };
    if schema.is_none() && effort.is_none() {
        return Ok(());
    }
    json.key("output_config").open_object();
    if let Some(effort) = effort {
        json.key("effort").text(effort);
    }
    if let Some(schema) = schema {
        json.key("format").open_object().key("type").text("json_schema");
        json.key("schema").raw(&schema.json).close_object();
    }
    json.close_object();
    Ok(())
}

fn write_sampling(plan: &thinking::Plan, json: &mut Json) {
    if let Some(temperature) = plan.temperature {
        json.key("temperature").float(temperature);
    }
    if let Some(top_p) = plan.top_p {
        json.key("top_p").float(top_p);
    }
    if let Some(top_k) = plan.top_k {
        json.key("top_k").number(top_k);
    }
}

fn write_stop(request: &Request, json: &mut Json) -> Result<(), Unfit> {
    if request.stop.is_empty() {
        return Ok(());
    }
    if let Some(at) = request.stop.iter().position(|stop| stop.trim().is_empty()) {
        let message = "Anthropic takes no stop sequence of white space only";
        return Err(unfit(format!("stop[{at}]"), message));
    }
    json.key("stop_sequences").open_array();
    for stop in &request.stop {
        json.text(stop);
    }
    json.close_array();
    Ok(())
}

/// Whether this model can be made to call a tool.
pub fn check_forced_tool(request: &Request, claude: Claude) -> Result<(), Unfit> {
    if claude.forced_tools {
        return Ok(());
    }
    let message =
        format!("{} refuses a demanded tool call; use \"auto\", or another model", request.model);
    Err(unfit("tool_choice", message))
}

const JSON_ONLY: &str =
    "Answer with one valid JSON object and nothing else: no prose, no code fence.";
