//! A neutral request as an OpenAI chat body, for clients that speak another dialect.

use super::messages;
use crate::{
    chat::{
        json::Json,
        request::{Format, Request, Tool, ToolChoice},
    },
    provider::{Rendered, Unfit},
};

/// Writes the body. `renames`: what the host calls otherwise; `takes_usage`: it can be asked for usage in a stream.
pub fn render(
    request: &Request,
    renames: &[(&str, &str)],
    takes_usage: bool,
) -> Result<Rendered, Unfit> {
    let mut writer = Body { json: Json::new(), renames, dropped: Vec::new() };
    writer.json.open_object();
    writer.key("model").text(&request.model);
    messages::write(request, &mut writer.json, &mut writer.dropped)?;
    writer.tools(request)?;
    writer.format(request);
    writer.limits(request);
    writer.sampling(request);
    writer.alternatives(request);
    writer.effort(request);
    writer.user(request);
    if request.stream {
        writer.key("stream").bool(true);
        if takes_usage {
            let options = writer.key("stream_options").open_object();
            options.key("include_usage").bool(true).close_object();
        }
    }
    writer.json.close_object();
    let mut dropped = writer.dropped;
    dropped.extend(request.hints.iter().map(|(name, _)| *name));
    dropped.sort_unstable();
    dropped.dedup();
    let unknown = request.unknown.iter().map(|(name, _)| name.clone()).collect();
    Ok(Rendered { body: writer.json.into_bytes(), dropped, unknown })
}

/// An [`Unfit`] in one line.
pub fn unfit(field: impl Into<String>, message: impl Into<String>) -> Unfit {
    Unfit { field: field.into(), message: message.into() }
}

struct Body<'r> {
    json: Json,
    renames: &'r [(&'r str, &'r str)],
    dropped: Vec<&'static str>,
}

impl Body<'_> {
    /// A top-level key, as the host calls it.
    fn key(&mut self, key: &str) -> &mut Json {
        let renamed = self.renames.iter().find(|(from, _)| *from == key).map_or(key, |(_, to)| to);
        self.json.key(renamed)
    }

    fn tools(&mut self, request: &Request) -> Result<(), Unfit> {
        if request.tools.is_empty() {
            return Ok(());
        }
        self.key("tools").open_array();
        for (at, tool) in request.tools.iter().enumerate() {
            self.tool(at, tool)?;
        }
        self.json.close_array();
        match &request.tool_choice {
            None => {}
            Some(ToolChoice::Auto) => {
                self.key("tool_choice").text("auto");
            }
            Some(ToolChoice::None) => {
                self.key("tool_choice").text("none");
            }
            Some(ToolChoice::Required) => {
                self.key("tool_choice").text("required");
            }
            Some(ToolChoice::Named(name)) => {
                let choice = self.key("tool_choice").open_object().key("type").text("function");
                choice.key("function").open_object().key("name").text(name);
                choice.close_object().close_object();
            }
            Some(ToolChoice::Allowed { .. }) => {
                let message = "not every host can be told to choose among some tools only";
                return Err(unfit("tool_choice", message));
            }
        }
        if let Some(parallel) = request.parallel_tool_calls {
            self.key("parallel_tool_calls").bool(parallel);
        }
        Ok(())
    }

    fn tool(&mut self, at: usize, tool: &Tool) -> Result<(), Unfit> {
        match tool {
            Tool::Function { name, description, parameters, strict, cache_control } => {
                let json = &mut self.json;
                json.open_object().key("type").text("function").key("function").open_object();
                json.key("name").text(name);
                if let Some(description) = description {
                    json.key("description").text(description);
                }
                if let Some(parameters) = parameters {
                    json.key("parameters").raw(parameters);
                }
                if let Some(strict) = strict {
                    json.key("strict").bool(*strict);
                }
                json.close_object().close_object();
                if cache_control.is_some() {
                    self.dropped.push("cache_control");
                }
                Ok(())
            }
            Tool::Other { kind, .. } => {
                let what = format!("a tool of type {kind:?} has no counterpart in OpenAI's format");
                Err(unfit(format!("tools[{at}].type"), what))
            }
        }
    }

    fn format(&mut self, request: &Request) {
        match &request.format {
            Format::Text => {}
            Format::JsonObject => {
                let format = self.key("response_format").open_object();
                format.key("type").text("json_object").close_object();
            }
            Format::JsonSchema { name, description, schema, strict } => {
                let strict = strict.unwrap_or_else(|| is_strict(schema));
                let format = self.key("response_format").open_object();
                format.key("type").text("json_schema").key("json_schema").open_object();
                format.key("name").text(name);
                if let Some(description) = description {
                    format.key("description").text(description);
                }
                format.key("schema").raw(schema).key("strict").bool(strict);
                format.close_object().close_object();
            }
        }
    }

    /// Reasoning models know only the newer name of the limit, many hosts only the older.
    fn limits(&mut self, request: &Request) {
        if let Some(max_tokens) = request.max_tokens {
            let reasons = reasons(&request.model);
            let key = if reasons { "max_completion_tokens" } else { "max_tokens" };
            self.key(key).number(max_tokens);
        }
        if !request.stop.is_empty() {
            self.key("stop").open_array();
            for stop in &request.stop {
                self.json.text(stop);
            }
            self.json.close_array();
        }
    }

    fn sampling(&mut self, request: &Request) {
        let sampling = &request.sampling;
        let reasons = reasons(&request.model);
        for (key, value) in [("temperature", sampling.temperature), ("top_p", sampling.top_p)] {
            let Some(value) = value else { continue };
            if !reasons {
                self.key(key).float(value);
            } else if value < 1.0 {
                // Reasoning models refuse any value but the default, 1.
                self.dropped.push(key);
            }
        }
        if sampling.top_k.is_some() {
            self.dropped.push("top_k");
        }
        let penalties = [
            ("frequency_penalty", sampling.frequency_penalty),
            ("presence_penalty", sampling.presence_penalty),
        ];
        for (key, value) in penalties {
            if let Some(value) = value {
                self.key(key).float(value);
            }
        }
        if let Some(seed) = sampling.seed {
            self.key("seed").raw(&seed.to_string());
        }
        if let Some(bias) = &sampling.logit_bias {
            self.key("logit_bias").raw(bias);
        }
    }

    fn alternatives(&mut self, request: &Request) {
        if let Some(n) = request.n {
            self.key("n").number(n);
        }
        if request.logprobs {
            self.key("logprobs").bool(true);
        }
        if let Some(top) = request.top_logprobs {
            self.key("top_logprobs").number(top);
        }
    }

    /// Models that do not reason refuse to be told how.
    fn effort(&mut self, request: &Request) {
        let effort = match (&request.reasoning_effort, &request.thinking) {
            (Some(effort), _) => Some(effort_word(effort)),
            (None, Some(thinking)) => effort_of_budget(thinking),
            (None, None) => None,
        };
        match effort {
            Some(effort) if reasons(&request.model) => {
                self.key("reasoning_effort").text(effort);
            }
            Some(_) if request.thinking.is_some() => self.dropped.push("thinking"),
            Some(_) => self.dropped.push("reasoning_effort"),
            None => {}
        }
    }

    fn user(&mut self, request: &Request) {
        match &request.user {
            Some(user) if user.len() <= USER_BYTES_MAX => {
                self.key("user").text(user);
            }
            Some(_) => self.dropped.push("user"),
            None => {}
        }
    }
}

fn effort_word(effort: &str) -> &'static str {
    match effort {
        "none" => "none",
        "minimal" => "minimal",
        "low" => "low",
        "medium" => "medium",
        _ => "high",
    }
}

/// What a thinking budget amounts to. Thinking that is off, or left to the model, says nothing.
fn effort_of_budget(thinking: &str) -> Option<&'static str> {
    let thinking: serde_json::Value = serde_json::from_str(thinking).ok()?;
    match thinking.get("budget_tokens")?.as_u64()? {
        0..=2048 => Some("low"),
        2049..=8192 => Some("medium"),
        _ => Some("high"),
    }
}

/// Whether a model takes `reasoning_effort`, by its name: OpenAI's o-series, GPT-5 and later, and gpt-oss.
fn reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let after = |prefix: &str| name.strip_prefix(prefix).and_then(|rest| rest.chars().next());
    name.starts_with("gpt-oss")
        || after("o").is_some_and(|c| c.is_ascii_digit())
        || (after("gpt-").is_some_and(|c| ('5'..='9').contains(&c)) && !name.contains("-chat"))
}

/// Whether OpenAI would take a schema in its strict mode: every object closed and every key required.
fn is_strict(schema: &str) -> bool {
    serde_json::from_str(schema).is_ok_and(|schema| is_strict_value(&schema))
}

fn is_strict_value(schema: &serde_json::Value) -> bool {
    use serde_json::Value;
    let Some(object) = schema.as_object() else { return true };
    let lists = |key: &str| object.get(key).and_then(Value::as_array);
    if let Some(properties) = object.get("properties").and_then(Value::as_object) {
        let required = lists("required").map_or(&[][..], Vec::as_slice);
        let all = properties.keys().all(|key| required.iter().any(|name| name == key));
        if !all || object.get("additionalProperties") != Some(&Value::Bool(false)) {
            return false;
        }
    }
    let named = ["properties", "$defs", "definitions"];
    let named =
        named.iter().filter_map(|key| object.get(*key)?.as_object()).flat_map(|map| map.values());
    let listed = ["anyOf", "allOf", "oneOf"].iter().filter_map(|key| lists(key)).flatten();
    named.chain(listed).chain(object.get("items")).all(is_strict_value)
}

/// OpenAI refuses a longer `user`.
const USER_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_models_are_known_by_name() {
        for model in ["o3-mini", "gpt-5", "gpt-5.1-codex", "openai/gpt-oss-120b", "o1"] {
            assert!(reasons(model), "{model}");
        }
        for model in ["gpt-4o", "gpt-5-chat-latest", "omni-x", "llama-3", "mistral-large", ""] {
            assert!(!reasons(model), "{model}");
        }
    }

    #[test]
    fn only_closed_schemas_are_strict() {
        let closed = r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","properties":{},"additionalProperties":false}}},"required":["a"],"additionalProperties":false}"#;
        assert!(is_strict(closed));
        assert!(!is_strict(&closed.replace(r#""required":["a"],"#, "")));
        assert!(!is_strict(&closed.replace(r#"{},"additionalProperties":false"#, "{}")));
        assert!(!is_strict("{"));
    }
}
