//! What a walk would do at each target of a plan, before any is tried.

use super::{
    attempt::{Outcome, Step, Walk},
    plan::{LeafRef, Plan},
};
use crate::base::units::Instant;

/// One target that a walk can come to.
#[derive(Clone, Copy, Debug)]
pub struct Ahead<'p> {
    /// The target.
    pub leaf: LeafRef<'p>,
    /// Where a second try beside it would go.
    pub beside: Option<LeafRef<'p>>,
    /// What follows if guardrails deny the request to it.
    pub denied: Step<'p>,
}

/// Every target that a walk can come to, in trying order.
#[must_use]
pub fn ahead<'p>(plan: &'p Plan<'_>) -> Vec<Ahead<'p>> {
    let now = Instant::default();
    let mut walk = Walk::new(plan);
    let mut step = Some(walk.first());
    let mut found = Vec::new();
    while let Some(Step::Try { leaf, .. }) = step {
        let denied = walk.clone().after(&Outcome::Denied { answer: false }, now, 0);
        found.push(Ahead { leaf, beside: walk.beside(), denied });
        step = walk.pass_over(now);
    }
    found
}
