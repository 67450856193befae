//! What each check finds: tables of parameters, text and verdict, with Portkey's edges.

use std::borrow::Cow;

use serde_json::{Value, json};
use trunkline::{
    config::{
        Config,
        compile::{Known, compile_guardrails},
        guardrail::Guardrails,
    },
    policy::guardrail::{Finding, Subject, check::is_early, judge},
};

/// The outcome of a check: it holds, it does not, or it could not be made, which counts as holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    True,
    False,
    Error,
}
use Is::{Error, False, True};

fn compiled(guardrails: &Value) -> Guardrails {
    let file = Config::open_defaults();
    let text = guardrails.to_string();
    let found = compile_guardrails([Some(&text), None], Known::from(&file));
    found.unwrap_or_else(|error| panic!("{guardrails}: {error:?}"))
}

fn find(name: &str, parameters: &Value, subject: &Subject<'_>) -> Finding {
    let guardrails = compiled(&json!([{name: parameters}]));
    judge(&guardrails.input[0].checks[0], subject)
}

fn verdict(finding: &Finding) -> Is {
    match (&finding.error, finding.verdict) {
        (Some(_), false) => Error,
        (None, true) => True,
        (None, false) => False,
        (Some(_), true) => panic!("an error is no verdict: {finding:?}"),
    }
}

#[track_caller]
fn table(name: &str, rows: &[(Value, &str, Is)]) {
    for (parameters, text, wanted) in rows {
        let finding = find(name, parameters, &Subject { text, ..Subject::default() });
        assert_eq!(verdict(&finding), *wanted, "{name} {parameters} of {text:?}: {finding:?}");
    }
}

#[test]
fn patterns_are_found_anywhere() {
    table(
        "default.regexMatch",
        &[
            (json!({"rule": "quick.*fox"}), "the quick brown fox", True),
            (json!({"rule": "zebra"}), "the quick brown fox", False),
            (json!({"rule": "zebra", "not": true}), "the quick brown fox", True),
            (json!({"rule": "fox", "not": true}), "the quick brown fox", False),
            (json!({"rule": "^x"}), "", Error),
            (json!({"rule": "^\\d{3}$"}), "123", True),
            (json!({"rule": "a.c"}), "a\nc", False),
        ],
    );
    let subject = Subject { text: "é quick fox", ..Subject::default() };
    let finding = find("regexMatch", &json!({"rule": "(?<speed>quick) (fox)"}), &subject);
    let details = &finding.data["matchDetails"];
    assert_eq!(details["captures"], json!(["quick", "fox"]));
    assert_eq!(details["groups"], json!({"speed": "quick"}));
    assert_eq!((&details["matchedText"], &details["index"]), (&json!("quick fox"), &json!(2)));
}

#[test]
fn words_by_operator() {
    table(
        "default.contains",
        &[
            (json!({"words": ["a", "b"], "operator": "any"}), "xbx", True),
            (json!({"words": ["a", "b"], "operator": "any"}), "xyz", False),
            (json!({"words": ["a", "b"]}), "xbx", True),
            (json!({"words": ["a", "b"], "operator": "all"}), "xbx", False),
            (json!({"words": ["a", "b"], "operator": "all"}), "ab", True),
            (json!({"words": ["a", "b"], "operator": "none"}), "xyz", True),
            (json!({"words": ["a", "b"], "operator": "none"}), "xax", False),
            (json!({"words": ["Word"], "operator": "any"}), "word", False),
            (json!({"words": ["a"], "operator": "none"}), "", True),
            (json!({"words": ["a"], "operator": "any"}), "", False),
        ],
    );
}

#[test]
fn counts_have_bounds_on_both_sides() {
    table(
        "default.wordCount",
        &[
            (json!({"minWords": 5, "maxWords": 8}), "This is a sentence with 7 words.", True),
            (json!({"minWords": 10, "maxWords": 15}), "This is a sentence with 7 words.", False),
            (json!({"minWords": 5, "maxWords": 8, "not": true}), "one two", True),
            (json!({"maxWords": 2}), "one  two\n", True),
            (json!({"maxWords": 1}), "one two", False),
            (json!({"minWords": 3}), "one two", False),
            (json!({"maxWords": 2}), "", Error),
            (json!({"maxWords": 2}), " \n\t ", Error),
        ],
    );
    table(
        "default.sentenceCount",
        &[
            (json!({"minSentences": 1, "maxSentences": 3}), "One. Two.", True),
            (json!({"minSentences": 3, "maxSentences": 4}), "One. Two.", False),
            (json!({"minSentences": 1, "maxSentences": 1}), "Why?", True),
            (json!({"minSentences": 2}), "Why?! ", True),
            (json!({"maxSentences": 0}), "no end", True),
            (json!({"minSentences": 1}), "", False),
            (json!({"minSentences": 1, "not": true}), "", True),
        ],
    );
    table(
        "default.characterCount",
        &[
            (json!({"minCharacters": 2, "maxCharacters": 3}), "abc", True),
            (json!({"minCharacters": 2, "maxCharacters": 3}), "abcd", False),
            // As JavaScript counts: two units for what is outside the basic plane.
            (json!({"maxCharacters": 1}), "😀", False),
            (json!({"maxCharacters": 1}), "é", True),
            (json!({"maxCharacters": 1}), "", Error),
        ],
    );
}

#[test]
fn json_is_found_in_blocks_and_between_words() {
    let schema =
        json!({"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}});
    let with = |not: bool| json!({"schema": schema, "not": not});
    table(
        "default.jsonSchema",
        &[
            (with(false), "before ```json\n{\"key\": \"v\"}\n``` after {\"key\": 1}", True),
            (with(false), "{\"key\": \"v\"}", True),
            (with(false), "see {\"key\": \"v\"} there", True),
            (with(false), "```json\n{\"key1\": \"v\"}\n```", False),
            (with(false), "{\"no\": 1} and {\"key\": \"v\"}", True),
            (with(false), "plain", False),
            (with(true), "plain", False),
            (with(true), "{\"no\": 1}", True),
            (with(true), "{\"key\": \"v\"}", False),
            (with(false), "", Error),
        ],
    );
    table(
        "default.jsonKeys",
        &[
            (json!({"keys": ["a", "c"], "operator": "any"}), "{\"a\": 1, \"b\": 2}", True),
            (json!({"keys": ["a", "b"], "operator": "all"}), "{\"a\": 1, \"b\": 2}", True),
            (json!({"keys": ["a", "c"], "operator": "all"}), "{\"a\": 1, \"b\": 2}", False),
            (json!({"keys": ["c"], "operator": "none"}), "{\"a\": 1}", True),
            (json!({"keys": ["a"], "operator": "none"}), "{\"a\": 1}", False),
            (json!({"keys": ["b", "c"], "operator": "all"}), "{\"a\":1} {\"b\":{},\"c\":3}", True),
            (json!({"keys": ["a"]}), "```json\n{\"a\": 1}\n```", True),
            (json!({"keys": ["a"]}), "plain", False),
            (json!({"keys": ["a"]}), "", Error),
        ],
    );
}

#[test]
fn code_is_what_a_fence_names() {
    table(
        "default.containsCode",
        &[
            (json!({"format": "Python"}), "```py\nprint()\n```", True),
            (json!({"format": "Python"}), "```js\nx\n```", False),
            (json!({"format": "JavaScript"}), "```py\nx\n```\n```js\ny\n```", True),
            (json!({"format": "SQL"}), "SELECT 1", False),
            (json!({"format": "SQL", "not": true}), "SELECT 1", True),
            (json!({"format": "SQL", "not": true}), "```sql\nSELECT 1\n```", False),
            (json!({"format": "SQL"}), "", Error),
        ],
    );
}

#[test]
fn cases_ends_and_nothing() {
    table(
        "default.alluppercase",
        &[
            (json!({}), "ABC 12!", True),
            (json!({}), "ABc", False),
            (json!({}), "É é", True),
            (json!({"not": true}), "ABc", True),
            (json!({}), "", Error),
        ],
    );
    table(
        "default.allLowercase",
        &[(json!({}), "abc 12!", True), (json!({}), "aBc", False), (json!({}), "", Error)],
    );
    table(
        "default.endsWith",
        &[
            (json!({"suffix": "end"}), "the end", True),
            (json!({"suffix": "end"}), "the end.", True),
            (json!({"suffix": "end"}), "the end..", False),
            (json!({"suffix": "end."}), "the end.", True),
            (json!({"suffix": "end", "not": true}), "the start", True),
            (json!({"suffix": "end"}), "", Error),
        ],
    );
    table(
        "default.notNull",
        &[
            (json!({}), "x", True),
            (json!({}), "  \n", False),
            (json!({}), "", False),
            (json!({"not": true}), "", True),
        ],
    );
}

#[test]
fn models_by_list_and_by_metadata() {
    let team = [(Cow::Borrowed("team"), Cow::Borrowed("a"))];
    let lists = json!({"models": ["m1"], "metadataRules": [
        {"metadataKey": "team", "values": ["a", "b"], "models": ["m2"]}]});
    let rules = json!({"rules": {"defaults": ["m1"], "metadata": {"team": {"a": ["m2"]}}}});
    for (name, parameters, model, metadata, wanted) in [
        ("modelwhitelist", json!({"models": ["m1", "m2"]}), "m2", &team[..0], True),
        ("modelWhitelist", json!({"models": ["m1"]}), "m2", &team[..0], False),
        ("modelwhitelist", json!({"models": ["m1"], "not": true}), "m2", &team[..0], True),
        ("modelwhitelist", json!({"models": ["m1"]}), "", &team[..0], Error),
        ("modelwhitelist", lists.clone(), "m1", &team[..0], True),
        ("modelwhitelist", lists.clone(), "m1", &team[..], False),
        ("modelwhitelist", lists, "m2", &team[..], True),
        ("modelRules", rules.clone(), "m1", &team[..0], True),
        ("modelRules", rules.clone(), "m2", &team[..], True),
        ("modelRules", rules, "m1", &team[..], False),
        (
            "modelRules",
            json!({"rules": {"metadata": {"team": {"b": ["m"]}}}}),
            "m",
            &team[..],
            Error,
        ),
    ] {
        let subject = Subject { model, metadata, ..Subject::default() };
        let finding = find(name, &parameters, &subject);
        assert_eq!(verdict(&finding), wanted, "{name} {parameters} of {model:?} {metadata:?}");
    }
}

#[test]
fn request_types_and_metadata_keys() {
    let types = |parameters: Value, asked: &str| {
        let subject = Subject { request_type: asked, ..Subject::default() };
        find("allowedRequestTypes", &parameters, &subject).verdict
    };
    assert!(types(json!({}), "embed"));
    assert!(types(json!({"allowedTypes": ["chatComplete"]}), "chatComplete"));
    assert!(!types(json!({"allowedTypes": "chatComplete, messages"}), "embed"));
    assert!(!types(json!({"blockedTypes": ["embed"]}), "embed"));
    assert!(types(json!({"blockedTypes": ["embed"]}), "messages"));
    assert!(!types(json!({"allowedTypes": ["embed"], "blockedTypes": ["messages"]}), "complete"));
    let metadata =
        [(Cow::Borrowed("team"), Cow::Borrowed("")), (Cow::Borrowed("_user"), Cow::Borrowed("u"))];
    for (operator, keys, wanted) in [
        ("all", json!(["team", "_user"]), true),
        ("all", json!(["team", "x"]), false),
        ("any", json!(["team", "x"]), true),
        ("any", json!(["x"]), false),
        ("none", json!(["x"]), true),
        ("none", json!(["team"]), false),
    ] {
        let subject = Subject { metadata: &metadata, ..Subject::default() };
        let parameters = json!({"metadataKeys": keys, "operator": operator});
        assert_eq!(
            find("requiredMetadataKeys", &parameters, &subject).verdict,
            wanted,
            "{parameters}"
        );
    }
}

#[test]
fn personal_data_is_found_where_it_is_what_it_looks_like() {
    use trunkline::policy::guardrail::redact::{finds, patterns_of, replaced};
    let guardrails = compiled(&json!([{"default.redactPii": {}}]));
    let patterns = patterns_of(&guardrails.input[0].checks[0].test);
    for (text, wanted) in [
        ("mail joe.doe+x@mail.example.com now", "mail [EMAIL_ADDRESS] now"),
        (
            "card 4111 1111 1111 1111, not 4111 1111 1111 1112",
            "card [CREDIT_CARD], not 4111 1111 1111 1112",
        ),
        ("ssn 123-45-6789", "ssn [SSN]"),
        ("call +1 (555) 123-4567 or 555-123-4567", "call [PHONE_NUMBER] or [PHONE_NUMBER]"),
        ("to DE89 3704 0044 0532 0130 00.", "to [IBAN]."),
        (
            "from 192.168.1.20 and ::1 and 999.1.1.1",
            "from [IP_ADDRESS] and [IP_ADDRESS] and 999.1.1.1",
        ),
        ("key sk-abcdefghijklmnopqrst", "key [API_KEY]"),
        ("the year 2024, room 101, 12:30", "the year 2024, room 101, 12:30"),
    ] {
        let found = finds(patterns.iter(), text);
        assert_eq!(replaced(text, &found, text.len()), wanted, "{text}");
    }
    let subject = Subject { text: "joe@example.com", ..Subject::default() };
    assert!(find("redactPii", &json!({}), &subject).verdict);
    assert!(!find("redactPii", &json!({"failOnDetection": true}), &subject).verdict);
    assert!(
        find("regexReplace", &json!({"rule": "x{9}", "failOnDetection": true}), &subject).verdict
    );
}

#[test]
fn a_text_that_is_too_long_has_not_passed() {
    let most = trunkline::base::limits::GUARDRAIL_TEXT_BYTES_MAX;
    let parameters = json!({"words": ["x"], "operator": "none"});
    for (length, wanted) in [(most, True), (most + 1, False)] {
        let text = "a".repeat(length);
        let subject = Subject { text: &text, ..Subject::default() };
        assert_eq!(verdict(&find("contains", &parameters, &subject)), wanted, "{length}");
    }
}

/// What is judged on the beginning of a stream must not fail there and hold in the end.
#[test]
fn what_is_judged_early_stays_failed() {
    let texts = ["a", "a b", "a b SECRET", "a b SECRET ```sql\nx\n``` and then more. Done"];
    let checks = [
        json!({"contains": {"words": ["SECRET"], "operator": "none"}}),
        json!({"contains": {"words": ["SECRET"], "operator": "any"}}),
        json!({"regexMatch": {"rule": "SE", "not": true}}),
        json!({"regexMatch": {"rule": "Done"}}),
        json!({"containsCode": {"format": "SQL", "not": true}}),
        json!({"alllowercase": {}}),
        json!({"alllowercase": {"not": true}}),
        json!({"wordCount": {"minWords": 5}}),
        json!({"endsWith": {"suffix": "Done"}}),
        json!({"redactPii": {"failOnDetection": true}}),
    ];
    let mut early = 0;
    for written in checks {
        let guardrails = compiled(&json!([written]));
        let check = &guardrails.input[0].checks[0];
        early += usize::from(is_early(check));
        let verdicts =
            texts.map(|text| judge(check, &Subject { text, ..Subject::default() }).verdict);
        if is_early(check) {
            assert!(
                verdicts.is_sorted_by(|before, after| before >= after),
                "{written}: {verdicts:?}"
            );
        }
    }
    assert_eq!(early, 5);
}
