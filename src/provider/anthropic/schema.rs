//! JSON Schemas in the subset that Anthropic compiles: every object closed, `anyOf` for `oneOf`, bounds on values moved
//! into the description. That is what Anthropic's own SDKs do with a schema; the bounds then guide and no longer bind.
//! A schema that lives on open objects has no counterpart there.

use serde_json::{Map, Value};

/// A schema in Anthropic's subset, with what counts against the limits on one request.
#[derive(Debug)]
pub struct Compiled {
    /// The schema as JSON text.
    pub json: String,
    /// Alternatives in it (`anyOf`, lists of types).
    pub unions: usize,
}

/// Rewrites a schema. `Err`: where in it and why it cannot be expressed.
pub fn compile(schema: &str) -> Result<Compiled, String> {
    let mut schema: Value =
        serde_json::from_str(schema).map_err(|error| format!("is not valid JSON: {error}"))?;
    let mut unions = 0;
    close(&mut schema, &mut unions)?;
    Ok(Compiled { json: schema.to_string(), unions })
}

fn close(schema: &mut Value, unions: &mut usize) -> Result<(), String> {
    let Value::Object(schema) = schema else { return Ok(()) };
    if let Some(alternatives) = schema.shift_remove("oneOf") {
        schema.insert("anyOf".to_owned(), alternatives);
    }
    *unions += usize::from(schema.contains_key("anyOf"));
    *unions += usize::from(schema.get("type").is_some_and(Value::is_array));
    close_object(schema)?;
    describe_bounds(schema);
    for (key, value) in schema.iter_mut() {
        match (key.as_str(), value) {
            ("properties" | "$defs" | "definitions", Value::Object(named)) => {
                named.values_mut().try_for_each(|schema| close(schema, unions))?;
            }
            ("anyOf" | "allOf", Value::Array(list)) => {
                list.iter_mut().try_for_each(|schema| close(schema, unions))?;
            }
            ("items", schema) => close(schema, unions)?,
            _ => {}
        }
    }
    Ok(())
}

/// Closing an object only takes answers away, unless all of its answers lived on being open.
fn close_object(schema: &mut Map<String, Value>) -> Result<(), String> {
    let is_object = schema.contains_key("properties") || names_type(schema.get("type"), "object");
    if !is_object {
        return Ok(());
    }
    let open_by_schema = schema.get("additionalProperties").is_some_and(Value::is_object);
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    let has_properties =
        schema.get("properties").and_then(Value::as_object).is_some_and(|map| !map.is_empty());
    if open_by_schema || (!has_properties && !closed && !schema.contains_key("anyOf")) {
        return Err("has an object with free keys; this provider needs every key named".to_owned());
    }
    schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    Ok(())
}

fn names_type(types: Option<&Value>, name: &str) -> bool {
    match types {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    }
}

fn describe_bounds(schema: &mut Map<String, Value>) {
    let mut bounds = String::new();
    for key in UNSUPPORTED {
        let few_items = *key == "minItems" && schema.get(*key).is_some_and(|n| *n == 0 || *n == 1);
        // A property may bear such a name; a bound is never an object.
        if few_items || schema.get(*key).is_some_and(Value::is_object) {
            continue;
        }
        if let Some(value) = schema.shift_remove(*key) {
            let comma = if bounds.is_empty() { "" } else { ", " };
            bounds.push_str(&format!("{comma}{key}: {value}"));
        }
    }
    if bounds.is_empty() {
        return;
    }
    let description = match schema.get("description").and_then(Value::as_str) {
        Some(description) => format!("{description}\n\n{{{bounds}}}"),
        None => format!("{{{bounds}}}"),
    };
    schema.insert("description".to_owned(), Value::String(description));
}

/// Keywords that Anthropic refuses in a compiled schema.
const UNSUPPORTED: &[&str] = &[
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_closed_and_bounds_become_words() {
        let compiled = compile(
            r##"{"type":"object","properties":{"n":{"type":["integer","null"],"minimum":0,"description":"d"},
                "tags":{"type":"array","minItems":1,"items":{"oneOf":[{"type":"string","maxLength":3}]}},
                "minimum":{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}}}},
                "$defs":{"A":{"type":"object","properties":{"x":{}},"additionalProperties":true}}}"##,
        )
        .expect("compiles");
        let expected = r##"{"type":"object","properties":{"n":{"type":["integer","null"],"description":"d\n\n{minimum: 0}"},"tags":{"type":"array","minItems":1,"items":{"anyOf":[{"type":"string","description":"{maxLength: 3}"}]}},"minimum":{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"additionalProperties":false}},"$defs":{"A":{"type":"object","properties":{"x":{}},"additionalProperties":false}},"additionalProperties":false}"##;
        assert_eq!(compiled.json, expected);
        assert_eq!(compiled.unions, 2);
    }

    #[test]
    fn open_maps_cannot_be_expressed() {
        for schema in [
            r#"{"type":"object"}"#,
            r#"{"type":"object","additionalProperties":{"type":"string"}}"#,
            r#"{"properties":{"m":{"type":"object","additionalProperties":true}}}"#,
        ] {
            assert!(compile(schema).is_err(), "{schema}");
        }
        assert!(compile(r#"{"type":"object","additionalProperties":false}"#).is_ok());
        assert!(compile("{").is_err());
    }
}
