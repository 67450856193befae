//! Compiles what of a request goes out twice: `hedge`, a second try beside a slow one, and `mirror`, a copy for nobody.

use std::{sync::Arc, time::Duration};

use crate::{
    base::limits,
    config::{
        health::{Hedge, HedgeAfter},
        policy::{Mirror, NodeKind},
        report::Spot,
        tree::Value,
        values,
    },
};

use super::{handed::Handed, node::Compiler};

impl Compiler<'_, '_> {
    /// `hedge`, or none where it is empty.
    pub fn hedge(&mut self, spot: &Spot<'_>) -> Option<Hedge> {
        if !self.is_map_of(spot, HEDGE_KEYS) || spot.tree.is_empty() {
            return None;
        }
        let bounds = (limits::HEDGE_RATIO_MIN, 1.0);
        let max_ratio = self.bounded(spot, "max_ratio", bounds, "0.05");
        let Some(found) = self.field(spot, "after") else {
            self.required(spot, "after", "write e.g. after: 800ms, or after: p95");
            return None;
        };
        let after = match &found.tree.value {
            Value::Text(text) if text == "p95" => HedgeAfter::P95,
            _ => {
                let (least, most) = (Duration::from_millis(1), limits::TIMEOUT_MAX);
                HedgeAfter::Fixed(values::duration(&found, self.report, least, most)?)
            }
        };
        Some(Hedge { after, max_ratio: max_ratio.unwrap_or(limits::HEDGE_RATIO_DEFAULT) })
    }

    /// `mirror`, or none where it is empty.
    pub fn mirror(&mut self, spot: &Spot<'_>, path: &str, handed: &Handed) -> Option<Arc<Mirror>> {
        if !self.is_map_of(spot, MIRROR_KEYS) || spot.tree.is_empty() {
            return None;
        }
        let sample = self.bounded(spot, "sample", (0.0, 1.0), "0.1").unwrap_or(1.0);
        let Some(target) = self.field(spot, "target") else {
            self.required(spot, "target", "write e.g. target: { virtual_key: NAME }");
            return None;
        };
        if !self.is_map(&target) {
            return None;
        }
        self.keys(&target);
        for key in ["strategy", "targets", "retry", "hedge", "mirror"] {
            if let Some(entry) = self.field(&target, key) {
                let message = "a mirror goes to one target, once; remove it";
                self.report.about_key(&entry, message);
            }
        }
        let nobodys = Handed {
            chosen: false,
            measured: false,
            hedge: None,
            mirror: None,
            retry: None,
            ..handed.clone()
        };
        let handed = self.handed(&target, &nobodys, 1);
        let path = format!("{path}.mirror.target");
        self.must_name_something(&target);
        match self.leaf(&target, &path, &handed)? {
            NodeKind::Leaf(leaf) => Some(Arc::new(Mirror { path, leaf: *leaf, sample })),
            _ => None,
        }
    }
}

const HEDGE_KEYS: &[&str] = &["after", "max_ratio"];
const MIRROR_KEYS: &[&str] = &["target", "sample"];
