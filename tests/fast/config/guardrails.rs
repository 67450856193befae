//! Guardrails in a file: what they compile to, and what their mistakes earn.

use trunkline::config::{
    Config,
    check::check,
    digest,
    guardrail::{GuardrailKind, OnStream, Test},
    json_schema::FORMATS,
    policy::Leaf,
    variables::Variables,
};

use super::{environment, good, leaf};

fn config(keys: &str) -> Config {
    good(&format!("configs: {{ c: {{ provider: ollama, {keys} }} }}"))
}

fn only(config: &Config) -> &Leaf {
    leaf(&config.configs[0].policy.root, &[])
}

fn mistakes(keys: &str) -> Vec<String> {
    let text = format!("configs:\n  c:\n    provider: ollama\n    {keys}\n");
    let checked = check(&text, Variables::Lookup(&environment));
    checked.mistakes.iter().map(|one| format!("{}: {}", one.path, one.message)).collect()
}

#[test]
fn both_forms_compile_to_the_same() {
    let short = config(
        "input_guardrails: [{ id: g, deny: true, contains: { words: [a], operator: none } }, { alluppercase: null }]",
    );
    let long = config(
        "before_request_hooks: [{ type: guardrail, id: g, deny: true, checks: [{ id: default.contains, \
         parameters: { words: [a], operator: none } }] }, { checks: [{ id: default.alluppercase }] }]",
    );
    for config in [&short, &long] {
        let guardrails = only(config).guardrails.as_ref().expect("there are some");
        let [first, second] = &guardrails.input[..] else { panic!("{guardrails:?}") };
        assert_eq!((first.id.as_str(), first.deny, first.background), ("g", true, false));
        assert_eq!(first.checks[0].id, "default.contains");
        assert!(matches!(&first.checks[0].test, Test::Contains(words, _) if words == &["a"]));
        assert_eq!((second.id.as_str(), second.deny), ("input_guardrail_2", false));
        assert!(matches!(second.checks[0].test, Test::Uppercase));
    }
    assert!(only(&config("weight: 1")).guardrails.is_none());
}

#[test]
fn what_is_held_of_a_stream_follows_from_what_it_does() {
    let redact = "redactPii: { patterns: [email] }";
    let word = "contains: { words: [a], operator: none }";
    for (keys, stream) in [
        (word.to_owned(), OnStream::End),
        (format!("{word}, deny: true"), OnStream::Hold),
        (format!("{word}, deny: true, async: true"), OnStream::End),
        (format!("{word}, deny: true, stream: window"), OnStream::Window),
        (format!("{word}, deny: true, stream: end"), OnStream::End),
        (redact.to_owned(), OnStream::Hold),
        (format!("{redact}, stream: window"), OnStream::Window),
    ] {
        let config = config(&format!("output_guardrails: [{{ {keys} }}]"));
        let guardrails = only(&config).guardrails.as_ref().expect("there are some");
        assert_eq!(guardrails.output[0].stream, stream, "{keys}");
    }
    let config = config(&format!("output_mutators: [{{ {redact} }}]"));
    let guardrails = only(&config).guardrails.as_ref().expect("there are some");
    assert_eq!(guardrails.output[0].kind, GuardrailKind::Mutator);
}

#[test]
fn mistakes_say_where_and_what_instead() {
    for (keys, expected) in [
        (
            "input_guardrails: {}",
            vec![
                "configs.c.input_guardrails: expected a list of guardrails, found a map; write e.g. [{ default.contains: { words: [secret], operator: none } }]",
            ],
        ),
        (
            "input_guardrails: [{ deny: true }]",
            vec![
                "configs.c.input_guardrails[0]: has no checks; write e.g. default.contains: { words: [secret], operator: none }",
            ],
        ),
        (
            "input_guardrails: [{ contains: { wrods: [a] } }]",
            vec![
                "configs.c.input_guardrails[0].contains.wrods: there is no such key; did you mean \"words\"?",
                "configs.c.input_guardrails[0].contains.words: missing; write e.g. words: [one, two]",
            ],
        ),
        (
            "input_guardrails: [{ contains: { words: [a], operator: some } }]",
            vec![
                "configs.c.input_guardrails[0].contains.operator: expected any, all or none, found \"some\"",
            ],
        ),
        (
            "input_guardrails: [{ contains: { words: [a], not: true } }]",
            vec![
                "configs.c.input_guardrails[0].contains.not: does not turn this check round; write operator: none",
            ],
        ),
        (
            "input_guardrails: [{ portkey.pii: { redact: true } }]",
            vec![
                "configs.c.input_guardrails[0].portkey.pii: is a check of a service outside; the checks that run here begin with default.",
            ],
        ),
        (
            "input_guardrails: [{ default.jwt: { jwksUri: x } }]",
            vec![
                "configs.c.input_guardrails[0].default.jwt: not in this version of Trunkline; remove it",
            ],
        ),
        (
            "input_guardrails: [{ regexMatch: { rule: \"(?=a)\" } }]",
            vec![
                "configs.c.input_guardrails[0].regexMatch.rule: this regular expression needs look-around, which is not supported: every match takes linear time",
            ],
        ),
        (
            "input_guardrails: [{ wordCount: { minWords: 5, maxWords: 2 } }]",
            vec![
                "configs.c.input_guardrails[0].wordCount: minWords is above maxWords: no text has so many",
            ],
        ),
        (
            "input_guardrails: [{ wordCount: {} }]",
            vec![
                "configs.c.input_guardrails[0].wordCount.maxWords: missing; write e.g. maxWords: 100",
            ],
        ),
        (
            "output_guardrails: [{ requiredMetadataKeys: { metadataKeys: [a] } }]",
            vec![
                "configs.c.output_guardrails[0].requiredMetadataKeys: checks requests only; move it to input_guardrails",
            ],
        ),
        (
            "input_guardrails: [{ containsCode: { format: python } }]",
            vec![
                "configs.c.input_guardrails[0].containsCode.format: there is no language \"python\"; did you mean \"Python\"?",
            ],
        ),
        (
            "input_guardrails: [{ allowedRequestTypes: { allowedTypes: [chat] } }]",
            vec![
                "configs.c.input_guardrails[0].allowedRequestTypes.allowedTypes: there is no request type \"chat\"; there are chatComplete, complete, embed, messages, createModelResponse",
            ],
        ),
        (
            "input_guardrails: [{ webhook: { webhookURL: \"ftp://x\" } }]",
            vec![
                "configs.c.input_guardrails[0].webhook.webhookURL: only http:// and https:// URLs lead to a provider",
            ],
        ),
        (
            "input_guardrails: [{ webhook: { webhookURL: \"https://x\", timeout: 0, headers: { host: a } } }]",
            vec![
                "configs.c.input_guardrails[0].webhook.headers: a call may not send the header host",
            ],
        ),
        (
            "input_guardrails: [{ webhook: { webhookURL: \"https://x\", timeout: 900000 } }]",
            vec![
                "configs.c.input_guardrails[0].webhook.timeout: expected a number of milliseconds from 1 to 60000, found 900000; write e.g. 3000",
            ],
        ),
        (
            "input_guardrails: [{ redactPii: { patterns: [names] } }]",
            vec![
                "configs.c.input_guardrails[0].redactPii.patterns[0]: there is no pattern \"names\"; there are email, api_key, iban, credit_card, ip_address, ssn, phone",
            ],
        ),
        (
            "input_guardrails: [{ notNull: {}, stream: hold }]",
            vec![
                "configs.c.input_guardrails[0].stream: belongs to a guardrail of answers; remove it",
            ],
        ),
        (
            "output_guardrails: [{ redactPii: {}, stream: end }]",
            vec![
                "configs.c.output_guardrails[0]: stream: end is too late for what rewrites; write hold or window",
            ],
        ),
        (
            "output_mutators: [{ redactPii: {}, async: true }]",
            vec![
                "configs.c.output_mutators[0]: a mutator rewrites what is waited for; remove async",
            ],
        ),
        (
            "before_request_hooks: [{ chekcs: [] }]",
            vec![
                "configs.c.before_request_hooks[0].chekcs: there is no such key; did you mean \"checks\"?",
                "configs.c.before_request_hooks[0].checks: missing; write e.g. checks: [{ id: default.contains, parameters: { … } }]",
            ],
        ),
    ] {
        let mut found = mistakes(keys);
        found.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(found, expected, "{keys}");
    }
    let nested = "configs: { c: { strategy: { mode: single }, targets: [ { provider: ollama, default_input_guardrails: [ { notNull: {} } ] } ] } }";
    let found = check(nested, Variables::Unknown).mistakes;
    assert!(found[0].message.contains("write it at the top of the config"), "{found:?}");
}

#[test]
fn a_schema_with_a_keyword_that_is_not_checked_is_refused() {
    let schema = |text: &str| {
        mistakes(&format!("output_guardrails: [{{ jsonSchema: {{ schema: {text} }} }}]"))
    };
    assert_eq!(
        schema(
            "{ type: object, properties: { a: { type: [string, \"null\"], format: email } }, required: [a] }"
        ),
        [""; 0]
    );
    assert_eq!(
        schema("{ $ref: \"#/$defs/a\", $defs: { a: { items: { $ref: \"#\" } } } }"),
        [""; 0]
    );
    for (text, words) in [
        ("{ type: obejct }", "expected a type of JSON"),
        ("{ propertys: {} }", "is no keyword that is checked; did you mean \"properties\"?"),
        ("{ unevaluatedProperties: false }", "is no keyword that is checked"),
        ("{ $dynamicRef: \"#a\" }", "is no keyword that is checked"),
        ("{ items: [ {} ] }", "a list of schemas is called prefixItems"),
        ("{ format: hostname }", "is no format that is checked"),
        (
            "{ $ref: \"https://example.com/s\" }",
            "a $ref names #, #/$defs/NAME or #/definitions/NAME",
        ),
        ("{ pattern: \"(\" }", "this is no regular expression"),
        ("{ multipleOf: 0 }", "expected a number above 0"),
        ("7", "expected a JSON Schema"),
    ] {
        let found = schema(text);
        assert!(found.len() == 1 && found[0].contains(words), "{text}: {found:?}");
    }
    assert_eq!(FORMATS.len(), 7);
}

#[test]
fn the_digest_knows_the_guardrails_but_no_secret_of_them() {
    let of = |words: &str, token: &str| {
        config(&format!(
            "input_guardrails: [{{ contains: {{ words: [{words}] }}, webhook: {{ webhookURL: \"https://x/y?t={token}\", \
             headers: {{ x-token: {token} }} }} }}]"
        ))
    };
    let (one, other) = (of("a", "hidden1"), of("b", "hidden1"));
    assert_ne!(one.digest, other.digest);
    let rotated = of("a", "hidden2");
    assert_eq!(one.digest, rotated.digest);
    assert!(!digest::same_secrets(&one, &rotated));
    assert!(digest::same_secrets(&one, &of("a", "hidden1")));
    for shown in [digest::render(&one).to_string(), format!("{:?}", only(&one))] {
        assert!(!shown.contains("hidden1"), "{shown}");
    }
}

#[test]
fn bounds_on_what_a_config_may_bring() {
    let many = |count: usize| {
        let one = "{ notNull: {} }, ".repeat(count);
        mistakes(&format!("input_guardrails: [{one}]"))
    };
    assert_eq!(many(32), [""; 0]);
    assert!(many(33)[0].contains("at most 32 guardrails"));
}
