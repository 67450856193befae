//! An Anthropic Messages request in neutral words. Types are checked strictly, so that a mistake is answered here with
//! its place; fields that are not known are kept aside by name.

use super::messages::{read_messages, read_system};
use crate::{
    chat::request::{Format, Request, Tool, ToolChoice},
    dialect::{
        Malformed,
        read::{Field, parse},
    },
};

/// Reads a body of `POST /v1/messages`. The buffer is used as scratch space: its bytes are undefined afterwards.
pub fn read(body: &mut [u8]) -> Result<Request, Malformed> {
    let tape = parse(body)?;
    let root = Field::root(&tape);
    root.object()?;
    let mut request = Request {
        model: root.need_text("model")?.to_owned(),
        max_tokens: Some(root.need("max_tokens")?.count()?),
        // Streams of this dialect always tell usage.
        include_usage: true,
        ..Request::default()
    };
    if let Some(system) = root.get("system") {
        request.messages.push(read_system(&system)?);
    }
    read_messages(&root.need("messages")?, &mut request.messages)?;
    for (key, field) in root.members() {
        read_member(key, &field, &mut request)?;
    }
    Ok(request)
}

fn read_member(key: &str, field: &Field<'_, '_>, request: &mut Request) -> Result<(), Malformed> {
    match key {
        "model" | "max_tokens" | "system" | "messages" => {}
        "tools" => request.tools = read_tools(field)?,
        "tool_choice" => read_choice(field, request)?,
        "temperature" => request.sampling.temperature = Some(field.number()?),
        "top_p" => request.sampling.top_p = Some(field.number()?),
        "top_k" => request.sampling.top_k = Some(field.count()?),
        "stop_sequences" => {
            let texts: Result<_, _> =
                field.elements()?.map(|text| text.text().map(str::to_owned)).collect();
            request.stop = texts?;
        }
        "stream" => request.stream = field.bool()?,
        "metadata" => request.user = field.object()?.get_text("user_id")?,
        "thinking" => request.thinking = Some(field.object()?.json()),
        "output_config" => read_output_config(field, request)?,
        "output_format" => request.format = read_format(field)?,
        _ => match HINTS.iter().find(|(name, _)| *name == key) {
            Some((_, default)) if field.json() == *default => {}
            Some((name, _)) => request.hints.push((name, field.json())),
            None => request.unknown.push((key.to_owned(), field.json())),
        },
    }
    Ok(())
}

fn read_output_config(field: &Field<'_, '_>, request: &mut Request) -> Result<(), Malformed> {
    request.reasoning_effort = field.object()?.get_text("effort")?;
    if let Some(format) = field.get("format") {
        request.format = read_format(&format)?;
    }
    Ok(())
}

fn read_format(field: &Field<'_, '_>) -> Result<Format, Malformed> {
    let kind = field.object()?.need("type")?;
    match kind.text()? {
        "json_schema" => Ok(Format::JsonSchema {
            name: "answer".to_owned(),
            description: None,
            schema: field.need("schema")?.object()?.json(),
            strict: None,
        }),
        other => Err(kind.malformed(format!("must be \"json_schema\", not {other:?}"))),
    }
}

fn read_tools(field: &Field<'_, '_>) -> Result<Vec<Tool>, Malformed> {
    field
        .elements()?
        .map(|tool| {
            let kind = tool.object()?.get_text("type")?;
            match kind {
                Some(kind) if kind != "custom" => Ok(Tool::Other { kind, json: tool.json() }),
                _ => Ok(Tool::Function {
                    name: tool.need_text("name")?.to_owned(),
                    description: tool.get_text("description")?,
                    parameters: Some(tool.need("input_schema")?.object()?.json()),
                    strict: tool.get("strict").map(|strict| strict.bool()).transpose()?,
                    cache_control: tool.get_json("cache_control"),
                }),
            }
        })
        .collect()
}

fn read_choice(field: &Field<'_, '_>, request: &mut Request) -> Result<(), Malformed> {
    let kind = field.object()?.need("type")?;
    request.tool_choice = Some(match kind.text()? {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(field.need_text("name")?.to_owned()),
        other => {
            return Err(kind.malformed(format!(
                "must be \"auto\", \"any\", \"tool\" or \"none\", not {other:?}"
            )));
        }
    });
    if let Some(disable) = field.get("disable_parallel_tool_use")
        && disable.bool()?
    {
        request.parallel_tool_calls = Some(false);
    }
    Ok(())
}

/// Known fields that change neither what is asked nor how it is sampled, with the value that says nothing.
const HINTS: &[(&str, &str)] = &[("cache_control", ""), ("service_tier", "\"auto\"")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_their_place() {
        let with = |fields: &str| {
            format!(
                r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"user","content":"x"}}]{fields}}}"#
            )
        };
        for (body, field) in [
            ("{}".to_owned(), "model"),
            (r#"{"model":"m"}"#.to_owned(), "max_tokens"),
            (r#"{"model":"m","max_tokens":1}"#.to_owned(), "messages"),
            (with(r#","system":1"#), "system"),
            (with(r#","system":[{"type":"text"}]"#), "system[0].text"),
            (with(r#","tools":[{"name":"f"}]"#), "tools[0].input_schema"),
            (with(r#","tool_choice":{"type":"tool"}"#), "tool_choice.name"),
            (with(r#","tool_choice":{"type":"all"}"#), "tool_choice.type"),
            (with(r#","output_config":{"format":{"type":"xml"}}"#), "output_config.format.type"),
            (with(r#","stop_sequences":[1]"#), "stop_sequences[0]"),
        ] {
            let error = read(&mut body.clone().into_bytes()).expect_err(&body);
            assert_eq!(error.field, field, "{body}");
        }
    }
}
