//! JSON Schema as far as guardrails check it: each keyword with a value that fits and one that does not.

use serde_json::{Value, json};
use trunkline::config::{
    Config,
    compile::{Known, compile_guardrails},
    guardrail::Test,
};

fn fits(schema: &Value, value: &Value) -> bool {
    let text = json!([{"jsonSchema": {"schema": schema}}]).to_string();
    let file = Config::open_defaults();
    let guardrails = compile_guardrails([None, Some(&text)], Known::from(&file));
    let guardrails = guardrails.unwrap_or_else(|error| panic!("{schema}: {error:?}"));
    match &guardrails.output[0].checks[0].test {
        Test::Schema(schema) => schema.misfits(value).is_empty(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_keyword_accepts_and_refuses() {
    for (schema, good, bad) in [
        (json!({"type": "integer"}), json!(1.0), json!(1.5)),
        (json!({"type": ["string", "null"]}), json!(null), json!(1)),
        (json!({"enum": [1, "a", {"b": [1]}]}), json!({"b": [1.0]}), json!("b")),
        (json!({"const": null}), json!(null), json!(0)),
        (json!({"minimum": 2}), json!(2), json!(1)),
        (json!({"maximum": 2}), json!(2), json!(3)),
        (json!({"exclusiveMinimum": 2}), json!(2.1), json!(2)),
        (json!({"exclusiveMaximum": 2}), json!("not a number"), json!(2)),
        (json!({"multipleOf": 0.1}), json!(0.3), json!(0.35)),
        (json!({"minLength": 2}), json!("éé"), json!("é")),
        (json!({"maxLength": 1}), json!("😀"), json!("ab")),
        (json!({"pattern": "^a"}), json!("ab"), json!("ba")),
        (json!({"format": "email"}), json!("a@b.example"), json!("a@b@")),
        (
            json!({"format": "date-time"}),
            json!("2026-01-31T00:00:00Z"),
            json!("2026-02-31T00:00:00Z"),
        ),
        (json!({"format": "date"}), json!("2024-02-29"), json!("2023-02-29")),
        (json!({"format": "uri"}), json!("https://a/b"), json!("a b")),
        (
            json!({"format": "uuid"}),
            json!("123e4567-e89b-12d3-a456-426614174000"),
            json!("123e4567"),
        ),
        (json!({"format": "ipv4"}), json!("10.0.0.1"), json!("10.0.0.256")),
        (json!({"format": "ipv6"}), json!("::1"), json!("1::2::3")),
        (json!({"items": {"type": "number"}}), json!([1, 2]), json!([1, "2"])),
        (
            json!({"prefixItems": [true, {"type": "null"}], "items": false}),
            json!([1, null]),
            json!([1, null, 2]),
        ),
        (json!({"minItems": 1, "maxItems": 2}), json!([1]), json!([])),
        (json!({"uniqueItems": true}), json!([1, 2, "1"]), json!([1, 1.0])),
        (json!({"contains": {"const": 1}, "maxContains": 1}), json!([1, 2]), json!([1, 1])),
        (
            json!({"contains": {"const": 1}, "minContains": 0, "maxContains": 1}),
            json!([]),
            json!([1, 1]),
        ),
        (json!({"required": ["a"]}), json!({"a": null}), json!({"b": 1})),
        (json!({"properties": {"a": {"type": "string"}}}), json!({"b": 1}), json!({"a": 1})),
        (
            json!({"patternProperties": {"^x": {"type": "string"}}}),
            json!({"y": 1}),
            json!({"xy": 1}),
        ),
        (
            json!({"properties": {"a": {}}, "patternProperties": {"^x": {}}, "additionalProperties": false}),
            json!({"a": 1, "x1": 2}),
            json!({"b": 1}),
        ),
        (json!({"propertyNames": {"maxLength": 2}}), json!({"ab": 1}), json!({"abc": 1})),
        (json!({"minProperties": 1, "maxProperties": 1}), json!({"a": 1}), json!({"a": 1, "b": 2})),
        (json!({"dependentRequired": {"a": ["b"]}}), json!({"b": 1}), json!({"a": 1})),
        (json!({"allOf": [{"minimum": 1}, {"maximum": 2}]}), json!(1.5), json!(3)),
        (json!({"anyOf": [{"type": "null"}, {"minimum": 5}]}), json!(6), json!(1)),
        (json!({"oneOf": [{"minimum": 1}, {"maximum": 2}]}), json!(3), json!(1.5)),
        (json!({"not": {"type": "string"}}), json!(1), json!("a")),
        (
            json!({"if": {"minimum": 5}, "then": {"maximum": 6}, "else": {"const": 0}}),
            json!(5.5),
            json!(1),
        ),
        (json!({"$ref": "#/$defs/n", "$defs": {"n": {"type": "number"}}}), json!(1), json!("1")),
        (
            json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": false}),
            json!({"next": {"next": {}}}),
            json!({"next": {"next": {"x": 1}}}),
        ),
        (json!({"title": "t", "description": "d", "default": 1, "const": 2}), json!(2), json!(1)),
    ] {
        assert!(fits(&schema, &good), "{schema} must take {good}");
        assert!(!fits(&schema, &bad), "{schema} must refuse {bad}");
    }
}

#[test]
fn a_schema_without_end_ends() {
    let around = json!({"$ref": "#", "$defs": {}});
    assert!(!fits(&around, &json!(1)), "it is refused and not run for ever");
    let wide = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]});
    assert!(!fits(&wide, &json!(1)));
    let items: Vec<u32> = (0..5000).collect();
    assert!(!fits(&json!({"uniqueItems": true}), &json!(items)), "more than is compared");
}
