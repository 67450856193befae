//! Conditions: every operator against every type, and agreement with a second writing-down of Portkey's rules on
//! random queries.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};
use trunkline::{
    base::fault::{Fault, Kind},
    config::{
        compile::{Known, compile_inline},
        policy::Policy,
    },
    policy::{
        condition::{Facts, Refusal, decide},
        plan::plan,
        request_headers,
    },
    wire::json,
};

use super::make::{Dice, OPENAI, add_virtual_key, config, origin};

/// Compiles an inline config whose conditional strategy chooses among the targets `yes`, `no` and `other`.
fn compile(strategy: &Value) -> Policy {
    let mut file = config();
    add_virtual_key(&mut file, "vk", &OPENAI, origin("api.openai.com", 443));
    let target = |name: &str| json!({ "name": name, "virtual_key": "vk" });
    let text = json!({
        "strategy": strategy,
        "targets": [target("yes"), target("no"), target("other"), target("yes")],
    });
    compile_inline(&text.to_string(), Known::from(&file), false)
        .unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

/// What a request says.
#[derive(Clone, Debug, Default)]
struct Said {
    metadata: Value,
    fixed: Vec<(String, String)>,
    body: Option<String>,
    path: String,
}

impl Said {
    /// Hands over the facts, read by the code that reads them from a request.
    fn lend<T>(&self, read: impl FnOnce(&Facts<'_>) -> T) -> T {
        let header = self.metadata.to_string();
        let options =
            request_headers::parse([(&b"x-portkey-metadata"[..], header.as_bytes())]).unwrap();
        let fields = self.body.as_ref().map(|body| json::scan(body.as_bytes()).unwrap());
        read(&Facts {
            fixed_metadata: &self.fixed,
            metadata: &options.metadata,
            metadata_json: &options.metadata_json,
            params: self.body.as_ref().map(|body| body.as_bytes()).zip(fields.as_ref()),
            path: &self.path,
        })
    }
}

/// Whether a query holds, or why nothing was chosen.
fn asked(query: &Value, said: &Said) -> Result<bool, String> {
    let strategy = json!({
        "mode": "conditional", "conditions": [{ "query": query, "then": "yes" }], "default": "no",
    });
    chosen(&compile(&strategy), said).map(|name| name == "yes")
}

fn chosen(policy: &Policy, said: &Said) -> Result<String, String> {
    said.lend(|facts| match decide(&policy.root, facts) {
        Ok((decided, target)) => {
            assert_eq!(target.name.as_deref(), Some(decided.target));
            Ok(decided.target.to_owned())
        }
        Err(refusal) => Err(Fault::from(refusal).message.into_owned()),
    })
}

/// A request of whose body and metadata the field `k` is this.
fn saying(value: &Value) -> Said {
    Said {
        metadata: json!({ "k": value }),
        body: Some(json!({ "model": "m", "k": value }).to_string()),
        path: "/v1/chat/completions".into(),
        ..Said::default()
    }
}

#[test]
fn equality_is_strict_in_types() {
    let values = [
        json!("6"),
        json!(6),
        json!(""),
        json!("true"),
        json!(true),
        json!(false),
        json!(null),
        json!("null"),
        json!([6]),
        json!({ "a": 1 }),
        json!("undefined"),
    ];
    for (at, value) in values.iter().enumerate() {
        for key in ["metadata.k", "params.k"] {
            for (other, wanted) in values.iter().enumerate() {
                let equal = at == other && !value.is_array() && !value.is_object();
                let said = saying(value);
                for (query, holds) in [
                    (json!({ key: { "$eq": wanted } }), equal),
                    (json!({ key: { "$ne": wanted } }), !equal),
                    (json!({ key: { "$in": ["x", wanted] } }), equal),
                    (json!({ key: { "$nin": ["x", wanted] } }), !equal),
                ] {
                    assert_eq!(asked(&query, &said), Ok(holds), "{query} of {value}");
                }
                if !wanted.is_array() && !wanted.is_object() {
                    assert_eq!(asked(&json!({ key: wanted }), &said), Ok(equal), "{wanted}");
                }
            }
        }
    }
    let six = saying(&json!(6));
    for written in ["6.0", "60e-1", "0.6e1"] {
        let said = Said { body: Some(format!(r#"{{"k":{written}}}"#)), ..six.clone() };
        assert_eq!(asked(&json!({ "params.k": 6 }), &said), Ok(true), "{written}");
    }
}

#[test]
fn order_compares_what_texts_begin_with() {
    for (value, bound, [gt, gte, lt, lte]) in [
        (json!(7), json!(6), [true, true, false, false]),
        (json!(6), json!(6), [false, true, false, true]),
        (json!("6"), json!(6), [false, true, false, true]),
        (json!("6.5 apples"), json!("6"), [true, true, false, false]),
        (json!("10"), json!("9"), [true, true, false, false]),
        (json!(-1.5), json!("-1e0"), [false, false, true, true]),
        (json!("Infinity"), json!(1e300), [true, true, false, false]),
        (json!("six"), json!(6), [false; 4]),
        (json!(6), json!("six"), [false; 4]),
        (json!(true), json!(0), [false; 4]),
        (json!(null), json!(0), [false; 4]),
        (json!({}), json!(0), [false; 4]),
        (json!(1), json!(null), [false; 4]),
        (json!(1), json!([0]), [false; 4]),
    ] {
        for (operator, holds) in [("$gt", gt), ("$gte", gte), ("$lt", lt), ("$lte", lte)] {
            for key in ["metadata.k", "params.k"] {
                let query = json!({ key: { operator: bound } });
                assert_eq!(asked(&query, &saying(&value)), Ok(holds), "{query} of {value}");
            }
        }
    }
}

#[test]
fn a_regular_expression_reads_any_value_as_text() {
    for (value, pattern, holds) in [
        (json!("gpt-4o-mini"), "^gpt-4", true),
        (json!("GPT-4o"), "^gpt-4", false),
        (json!("my gpt-4"), "gpt", true),
        (json!(6), r"^\d$", true),
        (json!(1e21), r"^1e\+21$", true),
        (json!(1.5e-7), r"^1\.5e-7$", true),
        (json!(0.000001), r"^0\.000001$", true),
        (json!(true), "^true$", true),
        (json!(null), "^null$", true),
        (json!(["gpt"]), "gpt", false),
        (json!("x"), "(", false),
        (json!("line\nend"), "e$", false),
        (json!("a\u{1f600}\"\\"), "^a\u{1f600}\"\\\\$", true),
    ] {
        for key in ["metadata.k", "params.k"] {
            let query = json!({ key: { "$regex": pattern } });
            assert_eq!(asked(&query, &saying(&value)), Ok(holds), "{query} of {value}");
        }
    }
}

#[test]
fn operators_behind_a_regular_expression_are_honoured() {
    let query = json!({ "metadata.k": { "$regex": "^a", "$ne": "abc" } });
    assert_eq!(asked(&query, &saying(&json!("abd"))), Ok(true));
    assert_eq!(asked(&query, &saying(&json!("abc"))), Ok(false));
    let siblings = json!({ "$or": [{ "metadata.k": "a" }, { "metadata.k": "b" }], "params.n": 1 });
    let mut said = saying(&json!("b"));
    assert_eq!(asked(&siblings, &said), Ok(false));
    said.body = Some(r#"{"n":1}"#.into());
    assert_eq!(asked(&siblings, &said), Ok(true));
    let both = json!({ "$and": [{ "metadata.k": "b" }], "$or": [{ "params.n": 2 }] });
    assert_eq!(asked(&both, &said), Ok(false));
}

#[test]
fn what_is_missing_is_undefined() {
    let bodiless = Said { metadata: json!({}), ..Said::default() };
    let empty = Said { body: Some("{}".into()), ..bodiless.clone() };
    let no_object = Said { metadata: json!("text"), ..empty.clone() };
    for said in [&bodiless, &empty, &no_object] {
        for key in ["metadata.k", "params.k", "metadata", "url.query", "query.k", ""] {
            for (operators, holds) in [
                (json!({ "$eq": null }), false),
                (json!({ "$eq": "undefined" }), false),
                (json!({ "$ne": "x" }), true),
                (json!({ "$nin": ["x", null] }), true),
                (json!({ "$in": [null, ""] }), false),
                (json!({ "$gt": 0 }), false),
                (json!({ "$lte": 0 }), false),
                (json!({ "$regex": "^undefined$" }), true),
                (json!({ "$in": "undefined" }), false),
                (json!({ "$nin": "x" }), false),
                (json!({}), true),
            ] {
                let query = json!({ key: operators });
                assert_eq!(asked(&query, said), Ok(holds), "{query}");
            }
            assert_eq!(asked(&json!({ key: null }), said), Ok(false), "{key}");
        }
    }
}

#[test]
fn the_path_and_the_api_keys_metadata_are_facts() {
    let said = Said {
        metadata: json!({ "team": "mine", "n": 6, "rest": "kept" }),
        fixed: vec![("team".into(), "theirs".into()), ("n".into(), "6".into())],
        path: "/v1/embeddings".into(),
        ..Said::default()
    };
    for (query, holds) in [
        (json!({ "url.pathname": "/v1/embeddings" }), true),
        (json!({ "url.pathname": { "$regex": "chat" } }), false),
        (json!({ "metadata.team": "theirs", "metadata.rest": "kept" }), true),
        (json!({ "metadata.team": "mine" }), false),
        (json!({ "metadata.n": 6 }), false),
        (json!({ "metadata.n": "6" }), true),
    ] {
        assert_eq!(asked(&query, &said), Ok(holds), "{query}");
    }
}

#[test]
fn long_texts_are_read_as_far_as_the_bound() {
    let long = "é\\n\u{1f600}".repeat(12_000);
    let said = |text: &str| Said { body: Some(format!(r#"{{"k":"{text}"}}"#)), ..Said::default() };
    let begins = json!({ "params.k": { "$regex": "^é\\n" } });
    for shift in ["", "x", "xx", "xxx", r"\ud83d\ude00", r"\u00e9"] {
        let query = json!({ "params.k": { "$regex": "\u{1f600}" } });
        assert_eq!(asked(&query, &said(&format!("{shift}{long}"))), Ok(true), "{shift}");
    }
    assert_eq!(asked(&begins, &said(&long)), Ok(true));
    let behind = json!({ "params.k": { "$regex": "needle" } });
    assert_eq!(asked(&behind, &said(&format!("{long}needle"))), Ok(false));
    let escaped = r"\ud83d\ude00\n".repeat(6_000);
    for shift in 0..14 {
        let text = format!("{}{escaped}", "x".repeat(shift));
        let query = json!({ "params.k": { "$regex": "^x*(\u{1f600}\n)+\u{1f600}?$" } });
        assert_eq!(asked(&query, &said(&text)), Ok(true), "{shift}");
    }
    let number = json!({ "params.k": { "$gt": 41 } });
    assert_eq!(asked(&number, &said(&format!("42{long}"))), Ok(true));
    let same = json!({ "params.k": { "$eq": "é\n" } });
    assert_eq!(asked(&same, &said(&long)), Ok(false));
    assert_eq!(asked(&same, &said(r"\u00e9\u000a")), Ok(true));
}

#[test]
fn refusals_are_portkeys_word_for_word() {
    let said = saying(&json!("x"));
    let query = json!({ "metadata.k": "x" });
    for (strategy, message) in [
        (json!({ "default": "no" }), "No conditions passed in the query router"),
        (json!({ "conditions": [] }), "Query router did not resolve to any valid target"),
        (
            json!({ "conditions": [], "default": "" }),
            "Query router did not resolve to any valid target",
        ),
        (
            json!({ "conditions": [{ "query": query, "then": "nope" }], "default": "no" }),
            "Invalid target name found in the query router: nope",
        ),
        (
            json!({ "conditions": [], "default": "nope" }),
            "Invalid target name found in the query router: nope",
        ),
        (
            json!({ "conditions": [{ "query": { "metadata.k": { "$like": "x" } }, "then": "yes" }] }),
            "Unsupported operator used in the query router: $like",
        ),
        (
            json!({ "conditions": [{ "query": { "metadata.k": ["x"] }, "then": "yes" }] }),
            "Unsupported operator used in the query router: 0",
        ),
        (
            json!({ "conditions": [{ "query": { "$or": { "$not": 1 } }, "then": "yes" }] }),
            "Unsupported operator used in the query router: $not",
        ),
    ] {
        let mut strategy = strategy;
        strategy["mode"] = json!("conditional");
        assert_eq!(chosen(&compile(&strategy), &said), Err(message.to_owned()), "{strategy}");
    }
    let fault = Fault::from(Refusal::NoTarget);
    assert_eq!(fault.kind, Kind::BadConfig);
}

#[test]
fn what_is_not_reached_harms_no_one() {
    let said = saying(&json!("x"));
    for query in [
        json!({ "metadata.k": { "$ne": "x", "$like": 1 } }),
        json!({ "metadata.k": "y", "params.k": { "$like": 1 } }),
        json!({ "$and": [{ "metadata.k": "y" }, { "params.k": { "$like": 1 } }] }),
    ] {
        assert_eq!(asked(&query, &said), Ok(false), "{query}");
    }
    let or = json!({ "$or": [{ "metadata.k": "x" }, { "params.k": { "$like": 1 } }] });
    assert_eq!(asked(&or, &said), Ok(true));
}

#[test]
fn the_first_target_of_a_name_is_meant_and_the_plan_says_what_was_decided() {
    let policy = compile(&json!({
        "mode": "conditional",
        "conditions": [
            { "query": { "metadata.k": "a" }, "then": "no" },
            { "query": { "metadata.k": { "$in": ["b"] } }, "then": "yes" },
            { "query": {}, "then": "other" },
        ],
        "default": "no",
    }));
    for (value, path, decided) in [
        ("a", "config.targets[1]", "config.conditions[0] -> no"),
        ("b", "config.targets[0]", "config.conditions[1] -> yes"),
        ("c", "config.targets[2]", "config.conditions[2] -> other"),
    ] {
        saying(&json!(value)).lend(|facts| {
            let plan = plan(&policy, 1, facts);
            let leaves: Vec<_> = plan.leaves().map(|leaf| leaf.path).collect();
            let said: Vec<_> = plan.decided().iter().map(ToString::to_string).collect();
            assert_eq!((leaves, said), (vec![path], vec![decided.to_owned()]));
        });
    }
    let policy = compile(&json!({ "mode": "conditional", "conditions": [], "default": "yes" }));
    Said::default().lend(|facts| {
        let plan = plan(&policy, 1, facts);
        assert_eq!(plan.decided()[0].to_string(), "config.default -> yes");
    });
}

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
