//! The guardrails of a config in the JSON Schema of the file.

use serde_json::{Value, json};

use super::{
    compile::checks::CHECKS,
    schema::{Row, Type, object},
};

/// A guardrail in its short form: a check is a key of its own.
pub fn short() -> Value {
    let mut value = object(HOOK);
    let checks = CHECKS.iter().flat_map(|known| {
        let field = json!({ "type": ["object", "null"], "description": known.what });
        [known.name.to_owned(), format!("default.{}", known.name)].map(|name| (name, field.clone()))
    });
    if let Some(properties) = value.get_mut("properties").and_then(Value::as_object_mut) {
        properties.shift_remove("checks");
        properties.extend(checks);
    }
    value
}

/// A guardrail in its long form.
pub const HOOK: &[Row] = &[
    ("id", Type::Text, "Its name in results and in the log."),
    ("type", Type::Choice(&["guardrail", "mutator"]), "A mutator rewrites and does not judge."),
    ("checks", Type::ListOf("check"), "All must hold."),
    ("deny", Type::Flag, "true: what fails is a 446; else it is a 246 with the answer."),
    ("async", Type::Flag, "true: nobody waits for it, and it is in the record alone."),
    ("sequential", Type::Flag, "true: its checks run one after another."),
    (
        "stream",
        Type::Choice(&["hold", "window", "end"]),
        "Of answers: hold back all up to 256 KiB (where it denies or rewrites), the last 1 KiB of text, or nothing.",
    ),
    ("on_success", Type::Anything, "feedback for its results."),
    ("on_fail", Type::Anything, "feedback for its results."),
];

/// A check of the long form.
pub const CHECK: &[Row] = &[
    ("id", Type::Text, "default.contains and the like."),
    ("parameters", Type::Anything, "As of the check in a guardrail's short form."),
    ("is_enabled", Type::Flag, "false: it is left out."),
];
