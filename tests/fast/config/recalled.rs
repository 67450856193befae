//! What is kept of an epoch tells again what went on around the tries of its targets.

use std::time::Duration;

use trunkline::config::{
    guardrail::Guardrail,
    health::{Hedge, HedgeAfter},
    recall::{Lead, recall},
};

use super::{good, leaf};

#[test]
fn hedges_mirrors_and_guardrails_are_recalled() {
    let config = good(
        "virtual_keys: { a: { provider: openai, api_key: k }, b: { provider: openai, api_key: k } }
configs:
  main:
    strategy: { mode: fallback }
    mirror: { target: { virtual_key: b, override_params: { model: shadow } }, sample: 0.5 }
    default_input_guardrails: [{ default.notNull: {}, id: always, sequential: true, deny: true }]
    targets:
      - { virtual_key: a, hedge: { after: 800ms, max_ratio: 0.1 } }
      - virtual_key: b
        hedge: { after: p95 }
        output_guardrails: [{ default.notNull: {}, async: true }]
",
    );
    let kept = config.without_secrets();
    let recalled = recall(&kept["configs"]["main"]).expect("it is of this form");
    let then = &config.configs[0].policy.root;
    for path in [[0], [1]] {
        let (was, is) = (leaf(then, &path), leaf(&recalled.policy.root, &path));
        let (was_around, is_around) = (was.mirror.as_ref(), is.mirror.as_ref());
        assert_eq!(was_around.map(|one| &one.path), is_around.map(|one| &one.path));
        assert_eq!(was_around.map(|one| one.sample), is_around.map(|one| one.sample));
        let hedge =
            |leaf: &trunkline::config::policy::Leaf| leaf.watch.as_ref().and_then(|w| w.hedge);
        assert!(hedge(was).is_some() && hedge(was) == hedge(is));
        let traits = |one: &Guardrail| (one.id.clone(), one.deny, one.background, one.sequential);
        let of = |leaf: &trunkline::config::policy::Leaf| {
            let both = leaf.guardrails.as_ref().expect("guardrails");
            let side = |list: &[std::sync::Arc<Guardrail>]| -> Vec<_> {
                list.iter().map(|one| traits(one)).collect()
            };
            (side(&both.input), side(&both.output))
        };
        assert_eq!(of(was), of(is));
        assert!(of(is).0.contains(&("always".to_owned(), true, false, true)), "{:?}", of(is));
    }
    let first = leaf(&recalled.policy.root, &[0]).watch.as_ref().and_then(|watch| watch.hedge);
    let after = HedgeAfter::Fixed(Duration::from_millis(800));
    assert_eq!(first, Some(Hedge { after, max_ratio: 0.1 }));
    let lead = recalled.leads.iter().find(|(path, _)| path == "config.mirror.target");
    let shadow =
        Lead { virtual_key: "b".into(), provider: "openai".into(), model: "shadow".into() };
    assert_eq!(lead.map(|(_, lead)| lead), Some(&shadow));
}
