//! Random queries are decided as by a second writing-down of Portkey's rules.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::{
    conditions::{Said, asked},
    make::Dice,
};

#[test]
fn random_queries_agree_with_the_reference() {
    let (mut held, mut refused) = (0, 0);
    for seed in 0..2_000 {
        let mut dice = Dice(seed ^ 0xc0de);
        let context = random_context(&mut dice);
        let mut patterns = 0;
        let query = random_query(&mut dice, 3, &mut patterns);
        if patterns > 16 {
            continue; // more than a request may bring
        }
        let said = say(&context, &mut dice);
        let expected = Reference { context: &context }.query(&query);
        assert_eq!(asked(&query, &said), expected, "seed {seed}: {query} of {context}");
        held += usize::from(expected == Ok(true));
        refused += usize::from(expected.is_err());
    }
    assert!(held > 150 && refused > 50, "the dice are dull: {held} held, {refused} refused");
}

/// The rules of the wire document, over whole JSON values, with what Portkey's code skips honoured.
struct Reference<'a> {
    context: &'a Value,
}

impl Reference<'_> {
    fn query(&self, query: &Value) -> Result<bool, String> {
        for (key, wanted) in query.as_object().unwrap() {
            let holds = match (key.as_str(), wanted) {
                ("$or", Value::Array(queries)) => self.first(queries, true)?,
                ("$and", Value::Array(queries)) => !self.first(queries, false)?,
                (_, Value::Object(operators)) => self.operators(operators, self.fact(key))?,
                (_, Value::Array(items)) if !items.is_empty() => return Err(unsupported("0")),
                (_, Value::Array(_)) => true,
                (_, bare) => strictly_equal(self.fact(key), bare),
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether one of the queries comes out like this.
    fn first(&self, queries: &[Value], wanted: bool) -> Result<bool, String> {
        for query in queries {
            if self.query(query)? == wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `None`: undefined.
    fn fact(&self, key: &str) -> Option<&Value> {
        let segments: Vec<&str> = key.split('.').collect();
        self.context.get(segments[0])?.get(segments.get(1)?)
    }

    fn operators(
        &self,
        operators: &Map<String, Value>,
        value: Option<&Value>,
    ) -> Result<bool, String> {
        for (operator, wanted) in operators {
            let (left, right) = (parse_float(value), parse_float(Some(wanted)));
            let listed =
                wanted.as_array().map(|items| items.iter().any(|item| strictly_equal(value, item)));
            let holds = match operator.as_str() {
                "$eq" => strictly_equal(value, wanted),
                "$ne" => !strictly_equal(value, wanted),
                "$gt" => left > right,
                "$gte" => left >= right,
                "$lt" => left < right,
                "$lte" => left <= right,
                "$in" => listed == Some(true),
                "$nin" => listed == Some(false),
                "$regex" => {
                    let text = value.map_or(Some("undefined".to_owned()), text_of);
                    let regex = Regex::new(wanted.as_str().unwrap());
                    regex.is_ok_and(|regex| text.is_some_and(|text| regex.is_match(&text)))
                }
                other => return Err(unsupported(other)),
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn unsupported(operator: &str) -> String {
    format!("Unsupported operator used in the query router: {operator}")
}

fn strictly_equal(value: Option<&Value>, wanted: &Value) -> bool {
    match (value, wanted) {
        (Some(Value::Number(a)), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Some(Value::Array(_) | Value::Object(_)), _) | (None, _) => false,
        (Some(value), wanted) => value == wanted,
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Array(_) | Value::Object(_) => None, // here Trunkline does not follow JavaScript
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.as_f64().unwrap().to_string()),
        other => Some(other.to_string()),
    }
}

/// The number of the longest beginning that is one.
fn parse_float(value: Option<&Value>) -> f64 {
    let Some(text) = value.and_then(text_of) else { return f64::NAN };
    let text = text.trim_start();
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
        let number =
            r"^[+-]?([0-9]+\.?[0-9]*([eE][+-]?[0-9]+)?|\.[0-9]+([eE][+-]?[0-9]+)?|Infinity)$";
        Regex::new(number).unwrap()
    });
    let ends = (0..=text.len()).rev().filter(|&end| text.is_char_boundary(end));
    let number = ends.map(|end| &text[..end]).find(|beginning| NUMBER.is_match(beginning));
    number.map_or(f64::NAN, |number| number.parse().unwrap())
}

const NAMES: [&str; 4] = ["a", "b", "c", "é\"\\x"];

fn random_scalar(dice: &mut Dice) -> Value {
    dice.pick(&[
        r#""6""#,
        "6",
        "6.5",
        "-1",
        r#""""#,
        r#""gold""#,
        r#""gold\nring""#,
        r#"" 7 days""#,
        r#""1e1""#,
        r#"".5.5""#,
        r#""Infinity""#,
        r#""é\"\\""#,
        "true",
        "false",
        "null",
        r#""undefined""#,
    ])
    .parse()
    .unwrap()
}

fn random_value(dice: &mut Dice) -> Value {
    match dice.below(10) {
        0 => json!([6]),
        1 => json!({ "a": "gold" }),
        _ => random_scalar(dice),
    }
}

fn random_context(dice: &mut Dice) -> Value {
    let some = |dice: &mut Dice| -> Map<String, Value> {
        let names = NAMES.iter().filter(|_| dice.chance(75)).copied().collect::<Vec<_>>();
        names.into_iter().map(|name| (name.to_owned(), random_value(dice))).collect()
    };
    let (metadata, params) = (some(dice), some(dice));
    let path = dice.pick(&["/v1/chat/completions", "/v1/embeddings"]);
    json!({ "metadata": metadata, "params": params, "url": { "pathname": path } })
}

/// A request that says this. Some of its texts are written in escapes, some of its metadata is the API key's own.
fn say(context: &Value, dice: &mut Dice) -> Said {
    let params = context["params"].as_object().unwrap();
    let mut body = String::from("{ ");
    for (at, (name, value)) in params.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        body.push_str(&format!(
            "{comma}{} : {}",
            escaped(name, dice),
            match value {
                Value::String(text) => escaped(text, dice),
                other => other.to_string(),
            }
        ));
    }
    body.push('}');
    let mut said = Said {
        metadata: context["metadata"].clone(),
        fixed: Vec::new(),
        body: (!params.is_empty() || dice.chance(50)).then_some(body),
        path: context["url"]["pathname"].as_str().unwrap().to_owned(),
    };
    for name in NAMES {
        if let (Some(Value::String(text)), true) = (context["metadata"].get(name), dice.chance(20))
        {
            said.fixed.push((name.to_owned(), text.clone()));
            said.metadata[name] = random_value(dice);
        }
    }
    said
}

fn escaped(text: &str, dice: &mut Dice) -> String {
    if !dice.chance(30) {
        return json!(text).to_string();
    }
    let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    format!("\"{units}\"")
}

fn random_query(dice: &mut Dice, depth: usize, patterns: &mut usize) -> Value {
    let mut query = Map::new();
    for _ in 0..1 + dice.below(2) {
        if depth > 0 && dice.chance(30) {
            let queries: Vec<Value> =
                (0..dice.below(4)).map(|_| random_query(dice, depth - 1, patterns)).collect();
            query.insert(dice.pick(&["$or", "$and"]).to_owned(), json!(queries));
            continue;
        }
        let name = dice.pick(&NAMES);
        let key = match dice.below(20) {
            0 => {
                dice.pick(&["metadata", "params", "url", "url.query", "x.y", "$not", ""]).to_owned()
            }
            1 => format!("params.{name}.more"),
            2 => "url.pathname".to_owned(),
            3..=11 => format!("metadata.{name}"),
            _ => format!("params.{name}"),
        };
        let wanted = match dice.below(12) {
            0..=2 => random_scalar(dice),
            3 => json!([]),
            _ => random_operators(dice, patterns),
        };
        query.insert(key, wanted);
    }
    Value::Object(query)
}

fn random_operators(dice: &mut Dice, patterns: &mut usize) -> Value {
    let mut operators = Map::new();
    for _ in 0..1 + dice.below(3) {
        let (operator, wanted) = match dice.below(24) {
            0..=5 => (dice.pick(&["$eq", "$ne"]), random_value(dice)),
            6..=11 => (dice.pick(&["$gt", "$gte", "$lt", "$lte"]), random_scalar(dice)),
            12..=17 => {
                let items: Vec<Value> = (0..dice.below(5)).map(|_| random_value(dice)).collect();
                (dice.pick(&["$in", "$nin"]), json!(items))
            }
            18 => (dice.pick(&["$in", "$nin"]), random_scalar(dice)),
            19 => (dice.pick(&["$like", "eq", "$or"]), random_scalar(dice)),
            _ => {
                *patterns += 1;
                let written = dice.pick(&["^gold$", "[0-9]", "e", "^$", "(", "d[^a]", "^(true|6)"]);
                ("$regex", json!(written))
            }
        };
        operators.insert(operator.to_owned(), wanted);
    }
    Value::Object(operators)
}
