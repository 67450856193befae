//! Conditions: every operator against every type, and what is refused in Portkey's words.

use serde_json::{Value, json};
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

use super::make::{OPENAI, add_virtual_key, config, origin};

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
pub struct Said {
    pub metadata: Value,
    pub fixed: Vec<(String, String)>,
    pub body: Option<String>,
    pub path: String,
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
pub fn asked(query: &Value, said: &Said) -> Result<bool, String> {
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
