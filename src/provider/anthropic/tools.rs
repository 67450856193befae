//! Tools, and whether they must be called, in Anthropic's words.

use std::collections::BTreeSet;

use super::{
    model::Claude,
    render::{check_forced_tool, unfit},
    schema,
};
use crate::{
    chat::{
        json::Json,
        request::{Content, Request, Tool, ToolChoice},
    },
    provider::Unfit,
};

/// Writes `tools` and `tool_choice`.
pub fn write(
    request: &Request,
    claude: Claude,
    json: &mut Json,
    dropped: &mut Vec<&'static str>,
) -> Result<(), Unfit> {
    let past = past_tools(request);
    if request.tools.is_empty() && past.is_empty() {
        return Ok(());
    }
    json.key("tools").open_array();
    if request.tools.is_empty() {
        // A conversation that holds tool calls needs tools beside it, even if none may be called any more.
        past.iter().for_each(|name| write_stub(name, json));
    } else {
        write_tools(request, claude, json, dropped)?;
    }
    json.close_array();
    write_choice(request, claude, json)
}

fn past_tools(request: &Request) -> BTreeSet<&str> {
    let parts = request.messages.iter().flat_map(|message| &message.parts);
    parts
        .filter_map(|part| match &part.content {
            Content::ToolCall { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect()
}

fn write_stub(name: &str, json: &mut Json) {
    json.open_object().key("name").text(name);
    json.key("input_schema").raw(NO_ARGUMENTS).close_object();
}

fn write_tools(
    request: &Request,
    claude: Claude,
    json: &mut Json,
    dropped: &mut Vec<&'static str>,
) -> Result<(), Unfit> {
    let strict = strict_schemas(request, claude);
    if strict.is_none() {
        dropped.push("tools.function.strict");
    }
    for (at, tool) in request.tools.iter().enumerate() {
        match tool {
            Tool::Function { name, description, parameters, cache_control, .. } => {
                if !is_allowed(request, name) {
                    continue;
                }
                json.open_object().key("name").text(name);
                if let Some(description) = description {
                    json.key("description").text(description);
                }
                let compiled = strict.as_ref().and_then(|schemas| schemas[at].as_deref());
                match (compiled, parameters) {
                    (Some(schema), _) => {
                        json.key("input_schema").raw(schema).key("strict").bool(true)
                    }
                    (None, Some(schema)) => json.key("input_schema").raw(&typed(schema)),
                    (None, None) => json.key("input_schema").raw(NO_ARGUMENTS),
                };
                if let Some(cache_control) = cache_control {
                    json.key("cache_control").raw(cache_control);
                }
                json.close_object();
            }
            // Tools of Anthropic's own bear the date of their version.
            Tool::Other { kind, json: tool } if ends_in_date(kind) => {
                json.raw(tool);
            }
            Tool::Other { kind, .. } => {
                let what =
                    format!("a tool of type {kind:?} has no counterpart in Anthropic's format");
                return Err(unfit(format!("tools[{at}].type"), what));
            }
        }
    }
    Ok(())
}

/// The compiled schema of each strict tool. `None`: some tool is strict, but not all can be, as Anthropic
/// bounds how many
/// strict tools and alternatives a request has; then all are sent as plain tools.
fn strict_schemas(request: &Request, claude: Claude) -> Option<Vec<Option<String>>> {
    let (mut tools, mut unions) = (0, 0);
    let mut schemas = Vec::with_capacity(request.tools.len());
    for tool in &request.tools {
        schemas.push(match tool {
            Tool::Function { parameters, strict: Some(true), .. } => {
                let compiled =
                    schema::compile(parameters.as_deref().unwrap_or(NO_ARGUMENTS)).ok()?;
                tools += 1;
                unions += compiled.unions;
                Some(compiled.json)
            }
            _ => None,
        });
    }
    let fits = tools <= STRICT_TOOLS_MAX && unions <= STRICT_UNIONS_MAX;
    (tools == 0 || (claude.strict_tools && fits)).then_some(schemas)
}

/// Anthropic wants the outermost type said.
fn typed(schema: &str) -> String {
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(schema) {
        Ok(mut map) if !map.contains_key("type") => {
            map.insert("type".to_owned(), "object".into());
            serde_json::Value::Object(map).to_string()
        }
        _ => schema.to_owned(),
    }
}

fn is_allowed(request: &Request, name: &str) -> bool {
    match &request.tool_choice {
        Some(ToolChoice::Allowed { names, .. }) => names.iter().any(|allowed| allowed == name),
        _ => true,
    }
}

fn ends_in_date(kind: &str) -> bool {
    kind.rsplit_once('_')
        .is_some_and(|(_, date)| date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit()))
}

fn write_choice(request: &Request, claude: Claude, json: &mut Json) -> Result<(), Unfit> {
    let (kind, name) = match &request.tool_choice {
        _ if request.tools.is_empty() => ("none", None),
        None if request.parallel_tool_calls != Some(false) => return Ok(()),
        None | Some(ToolChoice::Auto | ToolChoice::Allowed { required: false, .. }) => {
            ("auto", None)
        }
        Some(ToolChoice::None) => ("none", None),
        Some(ToolChoice::Required | ToolChoice::Allowed { required: true, .. }) => ("any", None),
        Some(ToolChoice::Named(name)) => ("tool", Some(name)),
    };
    if kind == "any" || kind == "tool" {
        check_forced_tool(request, claude)?;
    }
    json.key("tool_choice").open_object().key("type").text(kind);
    if let Some(name) = name {
        json.key("name").text(name);
    }
    if request.parallel_tool_calls == Some(false) && kind != "none" {
        json.key("disable_parallel_tool_use").bool(true);
    }
    json.close_object();
    Ok(())
}

const NO_ARGUMENTS: &str = r#"{"type":"object","properties":{},"additionalProperties":false}"#;
/// Anthropic's bounds on strict tools and on alternatives in their schemas, a request.
const STRICT_TOOLS_MAX: usize = 20;
const STRICT_UNIONS_MAX: usize = 16;
