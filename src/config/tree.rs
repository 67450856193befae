//! The configuration as read, before it means anything: values with the place of each, so that every later
//! complaint can say where. YAML (and so JSON) files and inline JSON both become a [`Tree`].

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::Number;
use serde_saphyr::{DuplicateKeyPolicy, Error, NonFiniteFloatPolicy, Options, Spanned};

use crate::base::limits;

/// A value and where it stands. No `Debug`: it may hold credentials.
pub struct Tree {
    /// The value.
    pub value: Value,
    /// Where it stands; zeros if it did not come from a file.
    pub place: Place,
    /// The text as written, if it named variables: shown instead of their values.
    pub written: Option<String>,
    /// True if it names variables that were not looked up: anything may stand here.
    pub unknown: bool,
}

/// A line and a column, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column, in characters.
    pub column: u64,
}

/// What can stand in a file.
pub enum Value {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A finite number.
    Number(Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A map, in the order of the file; a repeated key is still there twice.
    Map(Vec<Entry>),
}

/// A key of a map and what it holds.
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// What it holds.
    pub tree: Tree,
}

/// Reads a YAML text. `Err`: where it stops being YAML, and why.
pub fn read_yaml(text: &str) -> Result<Tree, (Place, String)> {
    if text.len() > limits::CONFIG_FILE_BYTES_MAX {
        let most = limits::CONFIG_FILE_BYTES_MAX >> 20;
        return Err((Place::default(), format!("the file is larger than {most} MiB")));
    }
    let tree = serde_saphyr::from_str_with_options::<Option<Tree>>(text, yaml_options());
    let tree = tree.map_err(|e| refusal(&e))?;
    Ok(tree.unwrap_or_else(|| Tree::new(Value::Map(Vec::new()))))
}

fn yaml_options() -> Options {
    let budget = serde_saphyr::budget! {
        max_depth: limits::CONFIG_FILE_DEPTH_MAX,
        flow_nesting_limit: limits::CONFIG_FILE_DEPTH_MAX,
        max_nodes: limits::CONFIG_FILE_NODES_MAX,
        max_events: 3 * limits::CONFIG_FILE_NODES_MAX,
    };
    let alias_limits = serde_saphyr::alias_limits! {
        max_total_replayed_events: limits::CONFIG_FILE_NODES_MAX,
    };
    serde_saphyr::options! {
        budget: budget,
        alias_limits: alias_limits,
        emit_comments: false,
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
    }
}

fn refusal(error: &Error) -> (Place, String) {
    let place = error
        .location()
        .map_or(Place::default(), |at| Place { line: at.line(), column: at.column() });
    let text = error.without_snippet().to_string();
    (place, format!("this cannot be read as YAML: {}", reason(&text)))
}

/// The reader's words without the position, which stands in front already, and without advice to programmers.
fn reason(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    let line = line.split(" at line ").next().unwrap_or(line);
    let line = match line.rsplit_once("column ") {
        Some((_, rest)) => rest.split_once(": ").map_or(line, |(_, words)| words),
        None => line,
    };
    match line {
        _ if line.starts_with("budget breached") || line.starts_with("alias replay") => {
            "it is larger or nested deeper than a configuration may be"
        }
        _ if line.starts_with("multiple YAML documents") => "a second document begins here",
        _ if line.starts_with("cannot deserialize null") => "a key must be text",
        "expected string scalar" => "a key must be text",
        _ => line.split(';').next().unwrap_or(line),
    }
}

impl Tree {
    /// A value without a place.
    #[must_use]
    pub fn new(value: Value) -> Tree {
        Tree { value, place: Place::default(), written: None, unknown: false }
    }

    /// The same as JSON; numbers and the order of keys are kept.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(b) => serde_json::Value::Bool(*b),
            Value::Number(n) => serde_json::Value::Number(n.clone()),
            Value::Text(t) => serde_json::Value::String(t.clone()),
            Value::List(items) => items.iter().map(Tree::to_json).collect(),
            Value::Map(entries) => {
                entries.iter().map(|e| (e.key.clone(), e.tree.to_json())).collect()
            }
        }
    }

    /// The type in the words of JSON, as schema messages name it.
    #[must_use]
    pub fn json_type(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::Text(_) => "string",
            Value::List(_) => "array",
            Value::Map(_) => "object",
        }
    }

    /// The type in plain words: what a message says where the value may be a secret.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// What stands here, for a message: as written, never the value of a variable, and short.
    #[must_use]
    pub fn shown(&self) -> String {
        match (&self.written, &self.value) {
            (Some(written), _) => shorten(written),
            (None, Value::Text(text)) if looks_secret(text) => {
                "\"…\" (not shown: it looks like a key)".to_owned()
            }
            (None, Value::Text(text)) => shorten(text),
            (None, Value::Number(number)) => number.to_string(),
            (None, Value::Bool(truth)) => truth.to_string(),
            _ => self.kind().to_owned(),
        }
    }

    /// True for null, false, an empty list or text, and a map of nothing else: it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match &self.value {
            Value::Null | Value::Bool(false) => true,
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.iter().all(|entry| entry.tree.is_empty()),
            Value::Text(text) => text.is_empty(),
            Value::Bool(true) | Value::Number(_) => false,
        }
    }
}

/// A text in quotes, control characters escaped, cut where it gets long.
#[must_use]
pub fn shorten(text: &str) -> String {
    if text.chars().nth(limits::SHOWN_CHARS_MAX).is_none() {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(limits::SHOWN_CHARS_MAX).collect();
    format!("{head:?}…")
}

/// Whether a text looks like a credential that was written in the wrong place.
fn looks_secret(text: &str) -> bool {
    SECRET_PREFIXES.iter().any(|prefix| text.starts_with(prefix))
}

/// How the keys of common providers begin, and our own.
const SECRET_PREFIXES: [&str; 12] =
    ["sk-", "sk_", "tl-", "pk-", "gsk_", "xai-", "hf_", "r8_", "AIza", "AKIA", "Bearer ", "eyJ"];

impl From<serde_json::Value> for Tree {
    fn from(json: serde_json::Value) -> Tree {
        Tree::new(match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(b) => Value::Bool(b),
            serde_json::Value::Number(n) => Value::Number(n),
            serde_json::Value::String(t) => Value::Text(t),
            serde_json::Value::Array(items) => {
                Value::List(items.into_iter().map(Tree::from).collect())
            }
            serde_json::Value::Object(map) => Value::Map(
                map.into_iter()
                    .map(|(key, value)| Entry {
                        key,
                        place: Place::default(),
                        tree: Tree::from(value),
                    })
                    .collect(),
            ),
        })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Tree { place: place_of(&spanned), ..Tree::new(spanned.value) })
    }
}

fn place_of<T>(spanned: &Spanned<T>) -> Place {
    Place { line: spanned.referenced.line(), column: spanned.referenced.column() }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_i128<E: de::Error>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Text(number.to_string()))
    }

    fn visit_u128<E: de::Error>(self, number: u128) -> Result<Value, E> {
        Ok(Value::Text(number.to_string()))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or_else(|| Value::Text(number.to_string()), Value::Number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Tree>()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let place = place_of(&key);
            let tree = map.next_value::<Tree>()?;
            entries.push(Entry { key: key.value, place, tree });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_knows_its_place() {
        let tree = read_yaml("a: 1\nb:\n  - {c: 1.5, d: off}\n").expect("it is YAML");
        let Value::Map(entries) = &tree.value else { panic!("a map") };
        let Value::List(items) = &entries[1].tree.value else { panic!("a list") };
        let Value::Map(inner) = &items[0].value else { panic!("a map") };
        assert_eq!(inner[1].place, Place { line: 3, column: 14 });
        assert_eq!(inner[1].tree.place, Place { line: 3, column: 17 });
        assert_eq!(tree.to_json(), serde_json::json!({"a": 1, "b": [{"c": 1.5, "d": "off"}]}));
    }

    #[test]
    fn what_is_not_yaml_says_where() {
        for (text, line, column, words) in [
            ("a: [1\nb: 2", 2, 2, "illegal placement of ':' indicator"),
            ("x: *nope", 1, 4, "alias references unknown anchor"),
            ("a: \"x", 1, 4, "unclosed quote"),
            ("a: !foo 1", 1, 9, "unsupported tag `!foo`"),
            ("? [1]\n: 3", 1, 3, "a key must be text"),
            ("~: 1", 1, 1, "a key must be text"),
            ("a: 1\n---\nb: 2", 3, 1, "a second document begins here"),
        ] {
            let Err((place, message)) = read_yaml(text) else { panic!("{text:?} was read") };
            assert_eq!(
                (place, message.as_str()),
                (Place { line, column }, &*format!("this cannot be read as YAML: {words}")),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_file_that_explodes_is_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..9 {
            let alias = format!("*a{}, ", i - 1).repeat(10);
            bomb.push_str(&format!("a{i}: &a{i} [{}]\n", alias.trim_end_matches(", ")));
        }
        let deep = "[".repeat(100_000);
        for text in [bomb, deep] {
            assert!(read_yaml(&text).is_err());
        }
    }
}
