//! Conditional strategies: what they compile to, what the file is told about them, and what a request is.

use trunkline::config::{
    check::check,
    compile::{InlineError, Known, compile_inline},
    condition::{Clause, Fact, Literal, Order, Test, Then},
    policy::NodeKind,
    variables::Variables,
};

use super::{environment, good, leaf};

const KEYS: &str = "virtual_keys: { a: { provider: openai, api_key: k }, b: { provider: anthropic, api_key: k } }\n";

/// The mistakes of a file whose one config has this strategy and the targets `code` and `chat`.
fn mistakes(strategy: &str) -> Vec<String> {
    let text = format!(
        "{KEYS}configs:\n  c:\n    strategy:\n      mode: conditional\n{strategy}\n    targets:\n      \
         - {{ name: code, virtual_key: a }}\n      - {{ name: chat, virtual_key: b }}\n"
    );
    let checked = check(&text, Variables::Lookup(&environment));
    assert_eq!(checked.config.is_none(), !checked.mistakes.is_empty(), "{text}");
    checked.mistakes.iter().map(ToString::to_string).collect()
}

/// The same of one query in the fifth line of the strategy.
fn query_mistakes(query: &str) -> Vec<String> {
    mistakes(&format!(
        "      default: chat\n      conditions:\n        - then: code\n          query: {query}"
    ))
}

#[test]
fn conditions_are_compiled_and_targets_inherit() {
    let config = good(&format!(
        "{KEYS}configs:\n  by-task:\n    strategy:\n      mode: conditional\n      conditions:\n        \
         - {{ query: {{ metadata.task: code, params.max_tokens: {{ $gte: 10, $lt: \"2e3 tokens\" }} }}, then: code }}\n        \
         - {{ query: {{ $or: [ {{ url.pathname: {{ $regex: \"embed\" }} }}, {{ params.seed: {{ $nin: [1, null, true] }} }} ] }}, then: chat }}\n      \
         default: code\n    retry: {{ attempts: 1 }}\n    override_params: {{ seed: 7 }}\n    targets:\n      \
         - {{ name: chat, virtual_key: b }}\n      \
         - name: code\n        strategy: {{ mode: fallback }}\n        targets: [ {{ virtual_key: a }}, {{ virtual_key: b, retry: {{ attempts: 0 }} }} ]\n",
    ));
    let root = &config.configs[0].policy.root;
    let NodeKind::Conditional { conditions, default, .. } = &root.kind else { panic!("{root:?}") };
    let conditions = conditions.as_deref().expect("there are some");
    assert_eq!(default, &Some(Then::Target(1)));
    assert_eq!((&conditions[0].then, &conditions[1].then), (&Then::Target(1), &Then::Target(0)));
    let [Clause::Tests(task, bare), Clause::Tests(_, bounds)] = conditions[0].query.as_slice()
    else {
        panic!("{conditions:?}");
    };
    assert_eq!(task, &Fact::Metadata("task".into()));
    assert!(matches!(&bare[..], [Test::Equal(Literal::Text(text))] if text == "code"));
    assert!(matches!(
        bounds[..],
        [Test::Order(Order::GreaterOrEqual, 10.0), Test::Order(Order::Less, 2000.0)]
    ));
    assert!(matches!(&conditions[1].query[..], [Clause::Any(queries)] if queries.len() == 2));
    assert_eq!(leaf(root, &[1, 0]).retry.attempts, 1);
    assert_eq!(leaf(root, &[1, 1]).retry.attempts, 0);
    assert_eq!(leaf(root, &[0]).override_params, [("seed".to_owned(), "7".to_owned())]);
}

#[test]
fn a_condition_changes_the_digest() {
    let with = |task: &str, then: &str| {
        good(&format!(
            "{KEYS}configs: {{ c: {{ strategy: {{ mode: conditional, default: x, conditions: \
             [ {{ query: {{ metadata.task: {task} }}, then: {then} }} ] }}, \
             targets: [ {{ name: x, virtual_key: a }}, {{ name: y, virtual_key: b }} ] }} }}"
        ))
        .digest
    };
    assert_eq!(with("code", "y"), with("code", "y"));
    assert_ne!(with("code", "y"), with("chat", "y"));
    assert_ne!(with("code", "y"), with("code", "x"));
}

#[test]
fn names_must_be_those_of_targets() {
    assert_eq!(
        mistakes(
            "      default: chatt\n      conditions:\n        - { query: { metadata.task: x }, then: images }"
        ),
        [
            "6:16: configs.c.strategy.default: no target here has the name \"chatt\"; did you mean \"chat\"?",
            "8:48: configs.c.strategy.conditions[0].then: no target here has the name \"images\"",
        ]
    );
}

#[test]
fn what_is_missing_is_said() {
    for (strategy, expected) in [
        (
            "      default: chat",
            &[
                "5:7: configs.c.strategy.conditions: missing; write e.g. [{ query: { metadata.plan: paid }, then: NAME }]",
            ][..],
        ),
        (
            "      default: chat\n      conditions: []",
            &[
                "7:19: configs.c.strategy.conditions: has no conditions; write e.g. [{ query: { metadata.plan: paid }, then: NAME }]",
            ],
        ),
        (
            "      default: chat\n      conditions: { metadata.task: code }",
            &[
                "7:19: configs.c.strategy.conditions: expected a list of conditions, found a map; write e.g. [{ query: { metadata.plan: paid }, then: NAME }]",
            ],
        ),
        (
            "      default: chat\n      conditions: [ { qery: {} } ]",
            &[
                "7:21: configs.c.strategy.conditions[0].query: missing; write e.g. query: { metadata.plan: paid }",
                "7:21: configs.c.strategy.conditions[0].then: missing; write the name of the target that is chosen",
                "7:23: configs.c.strategy.conditions[0].qery: there is no such key; did you mean \"query\"?",
            ],
        ),
    ] {
        assert_eq!(mistakes(strategy), expected, "\n{strategy}");
    }
}

#[test]
fn mistakes_of_a_query_are_told_with_their_place() {
    for (query, expected) in [
        (
            "{ task: code }",
            "9:20: configs.c.strategy.conditions[0].query.task: is nothing that can be asked; write metadata.NAME, params.NAME or url.pathname",
        ),
        (
            "{ metadata.user.id: 5 }",
            "9:20: configs.c.strategy.conditions[0].query.metadata.user.id: is nothing that can be asked; write metadata.NAME, params.NAME or url.pathname",
        ),
        (
            "{ url.host: x }",
            "9:20: configs.c.strategy.conditions[0].query.url.host: is nothing that can be asked; write metadata.NAME, params.NAME or url.pathname",
        ),
        (
            "{ $not: { metadata.a: b } }",
            "9:20: configs.c.strategy.conditions[0].query.$not: stands where a fact or $and or $or must stand; write e.g. metadata.plan",
        ),
        (
            "{ metadata.a: { $equal: b } }",
            "9:34: configs.c.strategy.conditions[0].query.metadata.a.$equal: there is no such operator; there are $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $regex",
        ),
        (
            "{ metadata.a: { $regx: b } }",
            "9:34: configs.c.strategy.conditions[0].query.metadata.a.$regx: there is no such operator; did you mean \"$regex\"?",
        ),
        (
            "{ metadata.a: [b] }",
            "9:32: configs.c.strategy.conditions[0].query.metadata.a: expected a value, or operators, found a list; write e.g. { $in: [gold, silver] }",
        ),
        (
            "{ metadata.a: {} }",
            "9:32: configs.c.strategy.conditions[0].query.metadata.a: expected a value, or operators, found a map; write e.g. { $in: [gold, silver] }",
        ),
        (
            "{ metadata.a: { $in: b } }",
            "9:39: configs.c.strategy.conditions[0].query.metadata.a.$in: expected a list of values, found \"b\"; write e.g. [gold, silver]",
        ),
        (
            "{ metadata.a: { $eq: [b] } }",
            "9:39: configs.c.strategy.conditions[0].query.metadata.a.$eq: expected text, a number, true, false or null, found a list",
        ),
        (
            "{ params.a: { $gt: many } }",
            "9:37: configs.c.strategy.conditions[0].query.params.a.$gt: expected a number, found \"many\"; write e.g. 10",
        ),
        (
            "{ metadata.a: { $regex: 5 } }",
            "9:42: configs.c.strategy.conditions[0].query.metadata.a.$regex: expected a regular expression in quotes, found 5; write e.g. \"^gpt-\"",
        ),
        (
            "{ metadata.a: { $regex: \"(\" } }",
            "9:42: configs.c.strategy.conditions[0].query.metadata.a.$regex: this is no regular expression: unclosed group",
        ),
        (
            "{ metadata.a: { $regex: \"(?=b)\" } }",
            "9:42: configs.c.strategy.conditions[0].query.metadata.a.$regex: this regular expression needs look-around, which is not supported: every match takes linear time",
        ),
        (
            "{ $or: { metadata.a: b } }",
            "9:25: configs.c.strategy.conditions[0].query.$or: expected a list of conditions, found a map; write e.g. [{ metadata.plan: a }]",
        ),
        (
            "{ $and: [] }",
            "9:26: configs.c.strategy.conditions[0].query.$and: expected a list of conditions, found a list; write e.g. [{ metadata.plan: a }]",
        ),
        (
            "{ $and: [x] }",
            "9:27: configs.c.strategy.conditions[0].query.$and[0]: expected a map, found \"x\"",
        ),
        (
            "{ metadata.a: b, metadata.a: c }",
            "9:35: configs.c.strategy.conditions[0].query.metadata.a: stands here twice; keep one of them",
        ),
    ] {
        assert_eq!(query_mistakes(query), [expected], "{query}");
    }
    let deep = format!("{}{{ metadata.a: b }}{}", "{ $or: [ ".repeat(17), " ] }".repeat(17));
    assert_eq!(
        query_mistakes(&deep)
            .iter()
            .map(|m| m.rsplit_once(": ").map_or("", |(_, text)| text))
            .collect::<Vec<_>>(),
        ["conditions may be nested 16 deep, no deeper"]
    );
    let fits = format!("{}{{ metadata.a: b }}{}", "{ $or: [ ".repeat(16), " ] }".repeat(16));
    assert!(query_mistakes(&fits).is_empty());
}

#[test]
fn variables_that_are_not_looked_up_make_no_mistakes() {
    let text = format!(
        "{KEYS}configs: {{ c: {{ strategy: {{ mode: conditional, default: x, conditions: \
         [ {{ query: {{ metadata.task: {{ $regex: \"(${{P}}\", $gt: \"${{N}}\" }} }}, then: y }} ] }}, \
         targets: [ {{ name: \"${{NAME}}\", virtual_key: a }} ] }} }}"
    );
    assert_eq!(check(&text, Variables::Unknown).mistakes, []);
}

#[test]
fn what_cannot_be_chosen_is_warned_of() {
    let text = format!(
        "{KEYS}configs:\n  c:\n    strategy: {{ mode: conditional, conditions: [ {{ query: {{}}, then: x }} ], sticky: {{ enabled: true }} }}\n    \
         targets:\n      - {{ name: x, virtual_key: a }}\n      - {{ name: x, virtual_key: b }}\n      - {{ virtual_key: b }}\n"
    );
    let checked = check(&text, Variables::Lookup(&environment));
    assert_eq!(checked.mistakes, []);
    let warned: Vec<String> = checked.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warned,
        [
            "4:5: configs.c.strategy: names no default: a request that no condition fits is refused",
            "4:76: configs.c.strategy.sticky: no effect: mode decides",
            "7:9: configs.c.targets[1]: is never chosen: the name is taken further up",
            "8:9: configs.c.targets[2]: has no name, so that no condition chooses it",
        ]
    );
}

fn inline(strategy: &str) -> Result<(), Vec<String>> {
    let file = good(KEYS);
    let text = format!(
        r#"{{"strategy":{{"mode":"conditional",{strategy}}},"targets":[{{"name":"x","virtual_key":"a"}}]}}"#
    );
    match compile_inline(&text, Known::from(&file), false) {
        Ok(_) => Ok(()),
        Err(InlineError::Invalid { errors, .. }) => Err(errors),
        Err(other) => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_request_may_say_what_portkey_lets_it_say() {
    for strategy in [
        r#""default":"nobody""#,
        r#""conditions":[]"#,
        r#""conditions":[{"query":{"a":{"$like":1},"$or":5},"then":"nobody"}]"#,
        r#""conditions":[{"query":{"metadata.a":{"$regex":"(","$in":"x","$gt":"y","$eq":[]}},"then":"x"}]"#,
    ] {
        assert_eq!(inline(strategy), Ok(()), "{strategy}");
    }
    for (strategy, error) in [
        (
            r#""conditions":{}"#,
            "path: strategy,conditions, message: Expected array, received object",
        ),
        (
            r#""conditions":[5]"#,
            "path: strategy,conditions,0, message: Expected object, received number",
        ),
        (r#""conditions":[{"query":{}}]"#, "path: strategy,conditions,0,then, message: Required"),
        (r#""conditions":[{"then":"x"}]"#, "path: strategy,conditions,0,query, message: Required"),
        (
            r#""conditions":[{"query":"x","then":"x"}]"#,
            "path: strategy,conditions,0,query, message: Expected object, received string",
        ),
        (
            r#""conditions":[{"query":{},"then":5}]"#,
            "path: strategy,conditions,0,then, message: Expected string, received number",
        ),
        (
            r#""conditions":[],"default":null"#,
            "path: strategy,default, message: Expected string, received null",
        ),
        (
            r#""conditions":[{"query":{"params.a":{"$regex":"(?!a)"}},"then":"x"}]"#,
            "path: strategy,conditions,0,query,params.a,$regex, message: this regular expression needs look-around, which is not supported: every match takes linear time",
        ),
    ] {
        assert_eq!(inline(strategy), Err(vec![error.to_owned()]), "{strategy}");
    }
}

#[test]
fn the_regular_expressions_of_a_request_are_bounded() {
    let with = |count: usize, pattern: &str| {
        let one = format!(r#"{{"query":{{"params.a":{{"$regex":"{pattern}"}}}},"then":"x"}}"#);
        inline(&format!(r#""conditions":[{}]"#, vec![one; count].join(",")))
    };
    assert_eq!(with(16, "^gpt.*$"), Ok(()));
    assert_eq!(with(17, "^gpt.*$").map_err(|errors| errors.len()), Err(1));
    assert_eq!(with(200, "^gpt.*$").map_err(|errors| errors.len()), Err(1));
    assert_eq!(with(1, "(.{1000}){1000}").map_err(|errors| errors.len()), Err(1));
}
