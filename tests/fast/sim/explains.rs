//! What `explain` says of a request is what then happens to it, and what its record tells is what it says again.

use serde_json::{Value, json};
use trunkline::{
    base::units::Instant,
    config::{Config, policy::Policy},
    journal::retrace::{Retraced, retrace},
    policy::{
        attempt::{Outcome, Step, Walk},
        condition::Facts,
        health::Snapshot,
        plan::plan_with,
    },
    serve::explain::{Ground, Imagined, Told, explain},
    wire::record::Record,
};

use super::{Gate, Setup, client, secs};
use crate::{nested::nested, policy::make::Dice};

/// The attempts that a walk of this plan makes where each target answers what its model says.
fn predicted(
    policy: &Policy,
    told: &Told,
    record: &Record,
    facts: &Facts<'_>,
) -> Vec<(String, u16)> {
    let health = recalled(policy, record, &[]);
    let plan = plan_with(policy, record.seed, facts, &health);
    let planned: Vec<&str> = plan.leaves().map(|leaf| leaf.path).collect();
    let tried = told.targets.iter().filter(|target| target.order.is_some());
    let tried: Vec<_> = tried.map(|target| target.path.as_str()).collect();
    assert_eq!(tried, planned);
    let mut walk = Walk::new(&plan);
    let mut step = walk.first();
    let mut attempts = Vec::new();
    while let Step::Try { leaf, .. } = step {
        let target = told.targets.iter().find(|target| target.path == leaf.path).expect("told");
        let code = target
            .model
            .strip_prefix("sandbox-fail-")
            .map_or(200, |code| code.parse().expect("a status"));
        attempts.push((leaf.path.to_owned(), code));
        let outcome = Outcome::Status { code, retry_after: None };
        step = walk.after(&outcome, Instant::default(), 0);
    }
    attempts
}

fn recalled(policy: &Policy, record: &Record, conditions: &[String]) -> Snapshot {
    Snapshot::recalled(policy, &record.open_breakers, &record.balance, conditions)
}

fn made(record: &Record) -> Vec<(String, u16)> {
    let attempts = record.attempts.iter();
    attempts.map(|attempt| (attempt.target.clone(), attempt.status)).collect()
}

#[test]
fn what_explain_says_is_what_happens() {
    let (mut exchanges, mut attempts, mut refused, mut unhealthy) = (0, 0, 0, 0);
    for seed in 0..WORLDS {
        let nested = nested(seed, false);
        let policy = serde_json::from_str(&nested.config).expect("JSON");
        let gate = Setup::new(seed).target("c", "openai").policy(policy).open();
        let mut dice = Dice(seed);
        for _ in 0..REQUESTS {
            let made = &nested.leaves[dice.below(nested.leaves.len())];
            let mut metadata = serde_json::Map::new();
            for (name, value) in &made.metadata {
                metadata.insert(name.clone(), json!(value));
            }
            metadata.insert("user".to_owned(), json!(dice.below(5).to_string()));
            if dice.chance(10) {
                metadata.clear();
            }
            let record = asked(&gate, &Value::Object(metadata.clone()));
            check(&gate, &record, &metadata);
            exchanges += 1;
            attempts += record.attempts.len();
            refused += usize::from(record.attempts.is_empty());
            unhealthy += usize::from(!record.open_breakers.is_empty());
            gate.world.run_for(secs(dice.roll() % 20));
        }
    }
    let told = format!(
        "{exchanges} exchanges, {attempts} attempts, {refused} refused, {unhealthy} with open breakers"
    );
    assert!(attempts > exchanges && refused > 5 && unhealthy > 50, "the worlds are dull: {told}");
}

fn asked(gate: &Gate, metadata: &Value) -> Record {
    let header = format!("x-portkey-metadata: {metadata}\r\n");
    let body = client::chat_body("hi", false);
    gate.post(&client::post("/v1/chat/completions", &header, &body));
    gate.record()
}

fn check(gate: &Gate, record: &Record, metadata: &serde_json::Map<String, Value>) {
    let epoch = gate.hub.epoch();
    let config: &Config = &epoch.config;
    let policy = &config.configs[0].policy;
    let headers = [
        ("x-portkey-config".to_owned(), "main".to_owned()),
        ("x-portkey-metadata".to_owned(), Value::Object(metadata.clone()).to_string()),
    ];
    let imagined = Imagined {
        method: "POST",
        path: "/v1/chat/completions",
        headers: &headers,
        body: client::chat_body("hi", false).to_string().into(),
        api_key: None,
    };
    let health = |policy: &Policy| recalled(policy, record, &[]);
    let now = gate.world.net();
    let now = trunkline::io::net::Net::unix_now(&now);
    let ground =
        Ground { config, listeners: &[client::address()], seed: record.seed, now, health: &health };
    let told = explain(&imagined, &ground);
    let pairs: Vec<(String, String)> = metadata
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned()))
        .collect();
    let facts = Facts { metadata: &pairs, path: "/v1/chat/completions", ..Facts::default() };
    assert_eq!(predicted(policy, &told, record, &facts), made(record), "{record:?}\n{told:?}");
    if let Some((status, _)) = &told.refused {
        assert_eq!(record.status, *status);
        return;
    }
    // From the record alone.
    let health = recalled(policy, record, &record.conditions);
    let plan = plan_with(policy, record.seed, &Facts::default(), &health);
    assert_eq!(retrace(&plan, record), Ok(Retraced::Same), "{record:?}");
}

#[test]
fn a_record_that_went_another_way_is_told_apart() {
    let gate = Gate::new(1);
    gate.target("a").is("status=503&keep_alive=off");
    gate.ask("hi");
    let record = gate.record();
    let epoch = gate.hub.epoch();
    let policy = &epoch.config.configs[0].policy;
    let plan = plan_with(policy, record.seed, &Facts::default(), &Snapshot::default());
    assert_eq!(retrace(&plan, &record), Ok(Retraced::Same));
    let changed = |change: fn(&mut Record)| {
        let mut other = record.clone();
        change(&mut other);
        retrace(&plan, &other).expect_err("it went another way")
    };
    let swapped = changed(|record| record.attempts.swap(0, 1));
    assert!(swapped.contains("attempt 1 was of config.targets[1]"), "{swapped}");
    let stayed = changed(|record| record.attempts[1].target = "config.targets[0]".to_owned());
    assert!(stayed.contains("attempt 2 was of config.targets[0]"), "{stayed}");
    let kept = changed(|record| record.attempts[0].left = String::new());
    assert!(kept.contains("attempt 1 was kept"), "{kept}");
    let more = changed(|record| {
        record.attempts[1].left = "status".to_owned();
        record.attempts.push(record.attempts[0].clone());
    });
    assert!(more.contains("attempt 3, of config.targets[0], is one too many"), "{more}");
    let mut cut = record.clone();
    cut.attempts.pop();
    let next = "config.targets[1]".to_owned();
    assert_eq!(retrace(&plan, &cut), Ok(Retraced::CutShort { next }));
}

#[test]
fn what_happens_on_the_way_is_retraced_too() {
    let policy = json!({
        "strategy": {"mode": "fallback"}, "cb_config": {"failure_threshold": 1},
        "targets": [
            {"virtual_key": "a", "retry": {"attempts": 2, "use_retry_after_header": true}},
            {"virtual_key": "b", "request_timeout": 500},
            {"virtual_key": "c"},
        ],
    });
    let gate = Setup::new(3).target("c", "openai").policy(policy).open();
    let retraced = |gate: &Gate| {
        let record = gate.record();
        let epoch = gate.hub.epoch();
        let policy = &epoch.config.configs[0].policy;
        let health = recalled(policy, &record, &record.conditions);
        let plan = plan_with(policy, record.seed, &Facts::default(), &health);
        assert_eq!(retrace(&plan, &record), Ok(Retraced::Same), "{record:?}");
        record.attempts.len()
    };
    // An error event, a cut before the commit, a wait that is too long, a deadline: each is the next one's chance.
    for script in
        ["error_event=0", "cut=40", "status=429&retry_after=100", "stall=0", "malformed=http"]
    {
        gate.target("a").is(&format!("{script}&keep_alive=off"));
        gate.target("b").is("first_byte=1h&keep_alive=off");
        gate.target("c").is("keep_alive=off");
        gate.stream("hi");
        assert!(retraced(&gate) >= 2, "{script}");
        gate.world.run_for(secs(40));
    }
    // A target that another request tries while its breaker is half open.
    gate.target("a").is("first_byte=5s&keep_alive=off");
    let probe = gate.begin(&client::chat("hi", false), secs(1));
    gate.ask("hi");
    retraced(&gate);
    drop(probe);
}

/// What a record of this gateway is retraced to, on the plan that its policy makes.
fn retraced(gate: &Gate) -> Result<Retraced, String> {
    let record = gate.record();
    let epoch = gate.hub.epoch();
    let policy = &epoch.config.configs[0].policy;
    let health = recalled(policy, &record, &record.conditions);
    let plan = plan_with(policy, record.seed, &Facts::default(), &health);
    retrace(&plan, &record)
}

#[test]
fn hedges_are_retraced_as_far_as_the_faster_one() {
    let policy = json!({
        "strategy": {"mode": "fallback"}, "hedge": {"after": "2s", "max_ratio": 1},
        "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}, {"virtual_key": "c"}],
    });
    let by_hedge = |target: &str| Ok(Retraced::Hedged { by: target.to_owned() });
    for (a, b, c, expected) in [
        ("first_byte=1h", "first_byte=1s", "", by_hedge("config.targets[1]")),
        ("first_byte=3s&status=503", "first_byte=5s", "", by_hedge("config.targets[1]")),
        ("status=503", "first_byte=1h", "", by_hedge("config.targets[2]")),
        ("first_byte=3s", "first_byte=1h", "", Ok(Retraced::Same)),
        ("first_byte=9s", "status=503", "", Ok(Retraced::Same)),
        ("first_byte=4s&status=500", "first_byte=1s&status=503", "", Ok(Retraced::Same)),
        ("first_byte=4s&status=500", "first_byte=1s&status=503", "status=500", Ok(Retraced::Same)),
    ] {
        let gate = Setup::new(1).target("c", "openai").policy(policy.clone()).open();
        for (target, script) in [("a", a), ("b", b), ("c", c)] {
            gate.target(target).is(&format!("{script}&keep_alive=off"));
        }
        gate.ask("hi");
        assert_eq!(retraced(&gate), expected, "{a} {b} {c}");
        gate.close();
    }
}

/// What is denied counts as a 446, and of a hedge that was faster it is the hedge's answer that was denied.
#[test]
fn denials_are_retraced() {
    let asks_for = |word: &str, deny: bool| json!([{"default.contains": {"words": [word], "operator": "any"}, "deny": deny}]);
    let policy = |strategy: Value, more: Value| {
        let mut policy = json!({
            "strategy": strategy,
            "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}, {"virtual_key": "c"}],
        });
        for (key, value) in more.as_object().expect("a map") {
            policy[key] = value.clone();
        }
        policy
    };
    let any = json!({"mode": "fallback"});
    let only_503 = json!({"mode": "fallback", "on_status_codes": [503]});
    let on_246 = json!({"mode": "fallback", "on_status_codes": [246]});
    let output = |deny: bool| json!({"output_guardrails": asks_for("no such word", deny)});
    let input = json!({"input_guardrails": asks_for("no such word", true)});
    let mut hedged = output(true);
    hedged["hedge"] = json!({"after": "2s", "max_ratio": 1});
    for (policy, a, attempts) in [
        (policy(any.clone(), output(true)), "", 3),
        (policy(only_503.clone(), output(true)), "", 1),
        (policy(on_246, output(false)), "", 3),
        (policy(any.clone(), input.clone()), "", 3),
        (policy(only_503, input), "", 1),
        (policy(any, hedged), "first_byte=1h", 4),
    ] {
        let gate = Setup::new(1).target("c", "openai").policy(policy.clone()).open();
        gate.target("a").is(a);
        gate.ask("hi");
        let record = gate.record();
        let epoch = gate.hub.epoch();
        let plan_of = &epoch.config.configs[0].policy;
        let health = recalled(plan_of, &record, &record.conditions);
        let plan = plan_with(plan_of, record.seed, &Facts::default(), &health);
        assert_eq!(retrace(&plan, &record), Ok(Retraced::Same), "{policy} {record:?}");
        assert_eq!(record.attempts.len(), attempts, "{policy} {record:?}");
        gate.close();
    }
}

#[test]
fn a_hedge_that_went_elsewhere_or_came_too_often_is_told_apart() {
    let policy = json!({
        "strategy": {"mode": "fallback"}, "hedge": {"after": "2s", "max_ratio": 1},
        "targets": [{"virtual_key": "a"}, {"virtual_key": "b"}],
    });
    let gate = Setup::new(1).policy(policy).open();
    gate.target("a").is("first_byte=1h");
    gate.ask("hi");
    let record = gate.record();
    let epoch = gate.hub.epoch();
    let plan = plan_with(
        &epoch.config.configs[0].policy,
        record.seed,
        &Facts::default(),
        &Snapshot::default(),
    );
    let mut other = record.clone();
    other.attempts[1].target = "config.targets[0]".to_owned();
    let elsewhere = retrace(&plan, &other).expect_err("it went another way");
    let expected = "the hedge beside attempt 1 was of config.targets[0], not of config.targets[1]";
    assert_eq!(elsewhere, expected);
    let mut other = record.clone();
    other.attempts[0].target = "config.targets[1]".to_owned();
    let swapped = retrace(&plan, &other).expect_err("it went another way");
    assert!(swapped.contains("attempt 1 was of config.targets[1]"), "{swapped}");
    let mut alone = record.clone();
    alone.attempts.remove(0);
    assert!(retrace(&plan, &alone).is_ok(), "a record that left an attempt out is no other path");
}

const WORLDS: u64 = 150;
const REQUESTS: usize = 5;
