//! Values that fit a JSON Schema: arguments of tool calls and structured answers.

use serde_json::{Map, Value, json};

/// A small value that fits the schema, as far as its common words go.
#[must_use]
pub fn sample(schema: &Value) -> Value {
    sample_at(schema, 0)
}

fn sample_at(schema: &Value, depth: usize) -> Value {
    if depth > DEPTH_MAX {
        return Value::Null;
    }
    if let Some(fixed) = schema.get("const").or_else(|| schema["enum"].get(0)) {
        return fixed.clone();
    }
    for choice in ["anyOf", "oneOf", "allOf"] {
        if let Some(first) = schema[choice].get(0) {
            return sample_at(first, depth + 1);
        }
    }
    match kind(schema) {
        "string" => json!("sandbox"),
        "integer" => json!(1),
        "number" => json!(1.5),
        "boolean" => json!(true),
        "null" => Value::Null,
        "array" => match schema.get("items") {
            Some(items) => json!([sample_at(items, depth + 1)]),
            None => json!([]),
        },
        _ => object(schema, depth),
    }
}

/// The type of a schema; the first one where it allows several.
fn kind(schema: &Value) -> &str {
    let kind = schema["type"].as_str().or_else(|| schema["type"].get(0)?.as_str());
    kind.unwrap_or("object")
}

fn object(schema: &Value, depth: usize) -> Value {
    let mut fields = Map::new();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        fields.insert(name.clone(), sample_at(field, depth + 1));
    }
    Value::Object(fields)
}

/// Deeper values are null: a schema is the caller's, and might be built to be deep.
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_schemas_are_met() {
        let schema = json!({"type": "object", "properties": {
            "city": {"type": "string"},
            "unit": {"enum": ["celsius", "fahrenheit"]},
            "days": {"type": ["integer", "null"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "when": {"anyOf": [{"type": "object", "properties": {"hour": {"type": "number"}}}]},
        }});
        let expected = json!({"city": "sandbox", "unit": "celsius", "days": 1,
            "tags": ["sandbox"], "when": {"hour": 1.5}});
        assert_eq!(sample(&schema), expected);
    }

    #[test]
    fn odd_schemas_are_met_with_something() {
        for odd in [json!(null), json!(7), json!([]), json!({"type": 7}), json!({"enum": []})] {
            assert_eq!(sample(&odd), json!({}));
        }
        let deep = (0..100).fold(json!({}), |inner, _| json!({"type": "array", "items": inner}));
        assert!(sample(&deep).is_array());
    }
}
