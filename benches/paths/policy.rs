//! Who is calling, and which targets are tried.

use std::hint::black_box;

use trunkline::{
    base::units::UnixTime,
    config::{Config, check::check, policy::Policy, variables::Variables},
    policy::{
        api_key,
        attempt::{Step, Walk},
        condition::Facts,
        key::identify,
        plan::plan,
    },
    wire::json::scan,
};

use crate::{Bench, wire::chat};

/// All of them.
pub fn all(bench: &mut Bench) {
    plans(bench);
    keys(bench);
}

fn plans(bench: &mut Bench) {
    let config = checked(PLANS);
    let body = chat(1024);
    let fields = scan(&body).expect("a JSON object");
    let metadata = [("team".to_owned(), "support".to_owned())];
    let facts = Facts {
        metadata: &metadata,
        params: Some((&body, &fields)),
        path: "/v1/chat/completions",
        ..Facts::default()
    };
    for (name, policy) in [
        ("plan: one target", "leaf"),
        ("plan: fallback of three", "fallback"),
        ("plan: conditional over fallback over loadbalance", "tree"),
    ] {
        let policy = named(&config, policy);
        let mut seed = 0;
        bench.add(name, 0, || {
            seed += 1;
            plan(policy, seed, &facts).leaves().count()
        });
    }
    for (name, policy) in [
        ("decision: one target", "leaf"),
        ("decision: conditional over fallback over loadbalance", "tree"),
    ] {
        let policy = named(&config, policy);
        let mut seed = 0;
        bench.add(name, 0, || {
            seed += 1;
            decision(policy, seed, &facts)
        });
    }
}

/// All that a config adds to a request whose first target answers: the plan, what the record keeps of it, and the step
/// to the target.
fn decision(policy: &Policy, seed: u64, facts: &Facts<'_>) -> usize {
    let plan = plan(policy, seed, facts);
    let conditions: Vec<String> = plan.decided().iter().map(ToString::to_string).collect();
    let mut walk = Walk::new(&plan);
    match walk.first() {
        Step::Try { leaf, .. } => black_box(&conditions).len() + leaf.index,
        _ => 0,
    }
}

fn keys(bench: &mut Bench) {
    let name = |number: usize| format!("tl-{number:044}");
    let rows: String = (0..KEYS)
        .map(|number| {
            format!(
                "  - {{ name: k{number}, {}, config: leaf }}\n",
                api_key::yaml_line(&name(number))
            )
        })
        .collect();
    let config = checked(&format!("{PLANS}api_keys:\n{rows}"));
    let bearer = format!("Bearer {}", name(KEYS / 2));
    let lookup = |header: &str| (header == "authorization").then_some(bearer.as_str());
    let now = UnixTime { nanos: 1_767_225_600_000_000_000 };
    bench.add("API key, one of 1000", 0, || {
        identify(&lookup, &config, now).ok().and_then(|caller| caller.api_key).expect("it is known")
    });
}

fn checked(text: &str) -> Config {
    let checked = check(text, Variables::Lookup(&|_| None));
    checked.config.unwrap_or_else(|| panic!("{:?}\n{text}", checked.mistakes))
}

fn named<'c>(config: &'c Config, name: &str) -> &'c Policy {
    &config.configs.iter().find(|known| known.name == name).expect("it is there").policy
}

const KEYS: usize = 1000;

const PLANS: &str = "
virtual_keys:
  a: { provider: openai, api_key: sk-a }
  b: { provider: openai, api_key: sk-b }
  c: { provider: anthropic, api_key: sk-c }
configs:
  leaf: { virtual_key: a }
  fallback:
    strategy: { mode: fallback, on_status_codes: [429, 503] }
    targets: [ { virtual_key: a }, { virtual_key: b }, { virtual_key: c } ]
  tree:
    strategy:
      mode: conditional
      conditions:
        - { query: { metadata.team: { $eq: sales } }, then: b }
        - { query: { $and: [ { metadata.team: { $in: [support, care] } }, { params.model: { $regex: '^gpt' } } ] }, then: fall }
      default: b
    targets:
      - { name: b, virtual_key: b }
      - name: fall
        strategy: { mode: fallback }
        targets:
          - strategy: { mode: loadbalance }
            targets: [ { virtual_key: a, weight: 0.7 }, { virtual_key: b, weight: 0.3 } ]
          - { virtual_key: c }
";
