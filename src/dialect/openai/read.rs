//! An OpenAI chat request in neutral words. Types are checked strictly, so that a mistake is answered here with its
//! place; fields that are not known are kept aside by name.

use super::messages::read_messages;
use crate::{
    chat::request::{Format, Request, Sampling, Tool, ToolChoice},
    dialect::{
        Malformed,
        read::{Field, parse},
    },
};

/// Reads a body of `POST /v1/chat/completions`. The buffer is used as scratch space: its bytes are undefined
/// afterwards.
pub fn read(body: &mut [u8]) -> Result<Request, Malformed> {
    let tape = parse(body)?;
    let root = Field::root(&tape);
    root.object()?;
    let mut request = Request {
        model: root.need_text("model")?.to_owned(),
        messages: read_messages(&root.need("messages")?)?,
        ..Request::default()
    };
    for (key, field) in root.members() {
        read_member(key, &field, &mut request)?;
    }
    if request.user.is_none() {
        request.user = root.get_text("safety_identifier")?;
    }
    // The newer name of the limit wins over the older.
    if let Some(limit) = root.get("max_completion_tokens") {
        request.max_tokens = Some(limit.count()?);
    }
    Ok(request)
}

fn read_member(key: &str, field: &Field<'_, '_>, request: &mut Request) -> Result<(), Malformed> {
    match key {
        "model" | "messages" | "max_completion_tokens" | "safety_identifier" => {}
        "tools" => request.tools = read_tools(field)?,
        "functions" => request.tools = read_functions(field)?,
        "tool_choice" | "function_call" => request.tool_choice = Some(read_choice(field)?),
        "parallel_tool_calls" => request.parallel_tool_calls = Some(field.bool()?),
        "response_format" => request.format = read_format(field)?,
        "max_tokens" => request.max_tokens = Some(field.count()?),
        "stop" => request.stop = read_stop(field)?,
        "stream" => request.stream = field.bool()?,
        "stream_options" => {
            request.include_usage =
                field.get("include_usage").map(|usage| usage.bool()).transpose()?.unwrap_or(false);
        }
        "reasoning_effort" => request.reasoning_effort = Some(field.text()?.to_owned()),
        "thinking" => request.thinking = Some(field.object()?.json()),
        "user" => request.user = Some(field.text()?.to_owned()),
        "n" => request.n = Some(field.count()?),
        "logprobs" => request.logprobs = field.bool()?,
        "top_logprobs" => request.top_logprobs = Some(field.count()?),
        "modalities" => request.modalities = read_texts(field)?,
        "audio" => request.audio = Some(field.object()?.json()),
        "web_search_options" => request.web_search = Some(field.object()?.json()),
        _ => return read_tuning(key, field, request),
    }
    Ok(())
}

fn read_tuning(key: &str, field: &Field<'_, '_>, request: &mut Request) -> Result<(), Malformed> {
    let sampling: &mut Sampling = &mut request.sampling;
    match key {
        "temperature" => sampling.temperature = Some(field.number()?),
        "top_p" => sampling.top_p = Some(field.number()?),
        "top_k" => sampling.top_k = Some(field.count()?),
        "seed" => sampling.seed = Some(field.integer()?),
        "frequency_penalty" => sampling.frequency_penalty = Some(field.number()?),
        "presence_penalty" => sampling.presence_penalty = Some(field.number()?),
        "logit_bias" => sampling.logit_bias = Some(field.object()?.json()),
        _ => match HINTS.iter().find(|(name, _)| *name == key) {
            // A hint at its default says nothing.
            Some((_, default)) if field.json() == *default => {}
            Some((name, _)) => request.hints.push((name, field.json())),
            None => request.unknown.push((key.to_owned(), field.json())),
        },
    }
    Ok(())
}

fn read_tools(field: &Field<'_, '_>) -> Result<Vec<Tool>, Malformed> {
    field
        .elements()?
        .map(|tool| {
            let kind = tool.object()?.need_text("type")?;
            if kind != "function" {
                return Ok(Tool::Other { kind: kind.to_owned(), json: tool.json() });
            }
            let function = tool.need("function")?;
            let mut read = read_function(&function)?;
            if let Tool::Function { cache_control, .. } = &mut read {
                *cache_control = tool.get_json("cache_control").or(cache_control.take());
            }
            Ok(read)
        })
        .collect()
}

/// The older form, without the wrapper.
fn read_functions(field: &Field<'_, '_>) -> Result<Vec<Tool>, Malformed> {
    field.elements()?.map(|function| read_function(&function)).collect()
}

fn read_function(function: &Field<'_, '_>) -> Result<Tool, Malformed> {
    let function = function.object()?;
    let parameters = function.get("parameters");
    if let Some(parameters) = &parameters {
        parameters.object()?;
    }
    Ok(Tool::Function {
        name: function.need_text("name")?.to_owned(),
        description: function.get_text("description")?,
        parameters: parameters.map(|schema| schema.json()),
        strict: function.get("strict").map(|strict| strict.bool()).transpose()?,
        cache_control: function.get_json("cache_control"),
    })
}

fn read_choice(field: &Field<'_, '_>) -> Result<ToolChoice, Malformed> {
    if field.is_text() {
        return match field.text()? {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" | "any" => Ok(ToolChoice::Required),
            other => Err(field.malformed(format!(
                "must be \"auto\", \"none\", \"required\" or an object naming a tool, not {other:?}"
            ))),
        };
    }
    let choice = field.object()?;
    if let Some(allowed) = choice.get("allowed_tools") {
        return read_allowed(&allowed);
    }
    // `{"type":"function","function":{"name"}}`, and `{"name"}` of the older `function_call`.
    let name =
        match choice.get("function") {
            Some(function) => function.need_text("name")?.to_owned(),
            None if choice.get("name").is_some() => choice.need_text("name")?.to_owned(),
            None => return Err(field.malformed(
                "must name a function, as in {\"type\":\"function\",\"function\":{\"name\":\"…\"}}",
            )),
        };
    Ok(ToolChoice::Named(name))
}

fn read_allowed(allowed: &Field<'_, '_>) -> Result<ToolChoice, Malformed> {
    let tools = allowed.need("tools")?;
    let mut names = Vec::new();
    for tool in tools.elements()? {
        let function = tool.need("function")?;
        names.push(function.need_text("name")?.to_owned());
    }
    let required = allowed.get_text("mode")?.as_deref() == Some("required");
    Ok(ToolChoice::Allowed { names, required })
}

fn read_format(field: &Field<'_, '_>) -> Result<Format, Malformed> {
    let kind = field.object()?.need("type")?;
    match kind.text()? {
        "text" => Ok(Format::Text),
        "json_object" => Ok(Format::JsonObject),
        "json_schema" => {
            let schema = field.need("json_schema")?;
            Ok(Format::JsonSchema {
                name: schema.object()?.get_text("name")?.unwrap_or_else(|| "answer".to_owned()),
                description: schema.get_text("description")?,
                schema: schema.need("schema")?.object()?.json(),
                strict: schema.get("strict").map(|strict| strict.bool()).transpose()?,
            })
        }
        other => Err(kind.malformed(format!(
            "must be \"text\", \"json_object\" or \"json_schema\", not {other:?}"
        ))),
    }
}

fn read_stop(field: &Field<'_, '_>) -> Result<Vec<String>, Malformed> {
    if field.is_text() {
        return Ok(vec![field.text()?.to_owned()]);
    }
    read_texts(field)
}

fn read_texts(field: &Field<'_, '_>) -> Result<Vec<String>, Malformed> {
    field.elements()?.map(|text| text.text().map(str::to_owned)).collect()
}

/// Known fields that change neither what is asked nor how it is sampled, with the value that says nothing.
const HINTS: &[(&str, &str)] = &[
    ("metadata", "{}"),
    ("prediction", ""),
    ("prompt_cache_key", ""),
    ("prompt_cache_retention", ""),
    ("service_tier", "\"auto\""),
    ("store", "false"),
    ("verbosity", "\"medium\""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(body: &str) -> (String, String) {
        let error = read(&mut body.as_bytes().to_vec()).expect_err(body);
        (error.field, error.message)
    }

    fn with(fields: &str) -> String {
        format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{fields}}}"#)
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (body, field, message) in [
            ("[]".to_owned(), "", "must be an object, not an array"),
            ("{}".to_owned(), "model", "is required"),
            (r#"{"model":1}"#.to_owned(), "model", "must be a string, not a number"),
            (r#"{"model":"m"}"#.to_owned(), "messages", "is required"),
            (
                r#"{"model":"m","messages":{}}"#.to_owned(),
                "messages",
                "must be an array, not an object",
            ),
            (with(r#""stream":"true""#), "stream", "must be true or false, not a string"),
            (with(r#""temperature":"hot""#), "temperature", "must be a number, not a string"),
            (
                with(r#""max_tokens":-1"#),
                "max_tokens",
                "must be a whole number of 0 or more, not a number",
            ),
            (with(r#""stop":[1]"#), "stop[0]", "must be a string, not a number"),
            (with(r#""tools":[{"type":"function"}]"#), "tools[0].function", "is required"),
            (
                with(r#""tools":[{"type":"function","function":{}}]"#),
                "tools[0].function.name",
                "is required",
            ),
            (
                with(r#""tool_choice":"maybe""#),
                "tool_choice",
                "must be \"auto\", \"none\", \"required\" or an object naming a tool, not \"maybe\"",
            ),
            (
                with(r#""response_format":{"type":"xml"}"#),
                "response_format.type",
                "must be \"text\", \"json_object\" or \"json_schema\", not \"xml\"",
            ),
            (
                with(r#""response_format":{"type":"json_schema","json_schema":{}}"#),
                "response_format.json_schema.schema",
                "is required",
            ),
        ] {
            assert_eq!(complaint(&body), (field.to_owned(), message.to_owned()), "{body}");
        }
        assert!(complaint("{\"model\":").1.starts_with("the body is not valid JSON"));
    }

    #[test]
    fn older_forms_and_unknown_fields_are_understood_and_kept() {
        let body = with(
            r#""functions":[{"name":"f"}],"function_call":{"name":"f"},"max_tokens":5,
               "max_completion_tokens":6,"stop":"END","user":null,"x_new":{"a":[1,2.5,"s"]},
               "store":false,"service_tier":"flex","seed":-3"#,
        );
        let request = read(&mut body.into_bytes()).expect("valid");
        assert!(matches!(&request.tools[0], Tool::Function { name, .. } if name == "f"));
        assert_eq!(request.tool_choice, Some(ToolChoice::Named("f".into())));
        assert_eq!((request.max_tokens, request.user), (Some(6), None));
        assert_eq!(request.stop, ["END"]);
        assert_eq!(request.unknown, [("x_new".to_owned(), r#"{"a":[1,2.5,"s"]}"#.to_owned())]);
        assert_eq!(request.hints, [("service_tier", "\"flex\"".to_owned())]);
        assert_eq!(request.sampling.seed, Some(-3));
    }
}
