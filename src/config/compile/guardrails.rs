//! Compiles guardrails: in Portkey's short form, where each further key of an item is a check, and in its long one.

use std::sync::Arc;

use crate::{
    base::limits,
    config::{
        guardrail::{Check, Feedback, Guardrail, GuardrailKind, Guardrails, OnStream},
        report::{Spot, did_you_mean, wrong},
        tree::Value,
    },
};

use super::{checks, handed::Handed, node::Compiler};

/// What guardrails a level hands down.
#[derive(Clone, Default)]
pub struct HandedGuardrails {
    input: Vec<Arc<Guardrail>>,
    output: Vec<Arc<Guardrail>>,
    default_input: Vec<Arc<Guardrail>>,
    default_output: Vec<Arc<Guardrail>>,
}

impl HandedGuardrails {
    /// Those of a leaf; `None`: there are none.
    pub fn of_leaf(&self) -> Option<Arc<Guardrails>> {
        let both = |own: &[Arc<Guardrail>], always: &[Arc<Guardrail>]| {
            own.iter().chain(always).map(Arc::clone).collect()
        };
        let guardrails = Guardrails {
            input: both(&self.input, &self.default_input),
            output: both(&self.output, &self.default_output),
        };
        (!guardrails.is_empty()).then(|| Arc::new(guardrails))
    }
}

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The request.
    Input,
    /// The answer.
    Output,
}

impl Compiler<'_, '_> {
    /// The guardrails of this level. Naming any of a side replaces the parent's of that side.
    pub fn handed_guardrails(&mut self, spot: &Spot<'_>, handed: &mut Handed, depth: usize) {
        for (side, [hooks, short, mutators], default) in KEYS {
            let given = [
                (hooks, Form::Long),
                (short, Form::Short(GuardrailKind::Guardrail)),
                (mutators, Form::Short(GuardrailKind::Mutator)),
            ];
            let mut named = false;
            let mut own = Vec::new();
            for (key, form) in given {
                if let Some(found) = self.field(spot, key) {
                    named = true;
                    own.extend(self.guardrails(&found, form, side, own.len()));
                }
            }
            let always = self.field(spot, default).map(|found| {
                if depth > 0 {
                    let message = "holds for every target; write it at the top of the config";
                    self.report.about_key(&found, message);
                }
                let form = Form::Short(GuardrailKind::Guardrail);
                self.guardrails(&found, form, side, 0)
            });
            let to = &mut handed.guardrails;
            let (slot, always_slot) = match side {
                Side::Input => (&mut to.input, &mut to.default_input),
                Side::Output => (&mut to.output, &mut to.default_output),
            };
            if named {
                *slot = own;
            }
            if let Some(always) = always {
                *always_slot = always;
            }
        }
    }

    /// One list of guardrails.
    pub fn guardrails(
        &mut self,
        spot: &Spot<'_>,
        form: Form,
        side: Side,
        before: usize,
    ) -> Vec<Arc<Guardrail>> {
        let example = match form {
            Form::Long => "[{ id: NAME, checks: [{ id: default.contains, parameters: { … } }] }]",
            Form::Short(_) => "[{ default.contains: { words: [secret], operator: none } }]",
        };
        if !self.is_list(spot, &format!("a list of guardrails; write e.g. {example}")) {
            return Vec::new();
        }
        let mut guardrails = Vec::new();
        for (at, item) in spot.items().enumerate() {
            if at + before >= limits::GUARDRAILS_MAX {
                let most = limits::GUARDRAILS_MAX;
                self.report.mistake(&item, format!("a target has at most {most} guardrails"));
                break;
            }
            guardrails.extend(self.guardrail(&item, form, side, at + before).map(Arc::new));
        }
        guardrails
    }

    fn guardrail(
        &mut self,
        spot: &Spot<'_>,
        form: Form,
        side: Side,
        at: usize,
    ) -> Option<Guardrail> {
        if matches!(spot.tree.value, Value::Text(_)) {
            let text = "is the name of a guardrail that Portkey keeps; write its checks here";
            self.report.mistake(spot, text);
            return None;
        }
        if !self.is_map(spot) || !self.report.map(spot) {
            return None;
        }
        let mistakes = self.report.mistakes.len();
        let checks = match form {
            Form::Short(_) => self.short_checks(spot, side),
            Form::Long => self.long_checks(spot, side),
        };
        let kind = self.kind_of(spot, form);
        let id = self.field(spot, "id").or_else(|| self.field(spot, "name"));
        let id = id.and_then(|found| self.string(&found, "a name").map(str::to_owned));
        let deny = self.flag(spot, "deny").unwrap_or(false);
        let background = self.flag(spot, "async").unwrap_or(false);
        let redacts = checks.iter().any(|check| check.test.redacts());
        let stream = self.on_stream(spot, side);
        let default = match deny || redacts {
            true if !background => OnStream::Hold,
            _ => OnStream::End,
        };
        let feedback = |compiler: &mut Self, key| {
            compiler.field(spot, key).and_then(|found| compiler.feedback(&found))
        };
        let guardrail = Guardrail {
            id: id.unwrap_or_else(|| default_id(side, at)),
            kind,
            deny,
            background,
            sequential: self.flag(spot, "sequential").unwrap_or(false),
            stream: stream.unwrap_or(default),
            on_success: feedback(self, "on_success"),
            on_fail: feedback(self, "on_fail"),
            checks,
            written: checks::without_secrets(spot.tree.to_json()).to_string(),
        };
        if self.report.mistakes.len() == mistakes {
            self.contradictions(spot, &guardrail);
        }
        (self.report.mistakes.len() == mistakes).then_some(guardrail)
    }

    /// What cannot be had together.
    fn contradictions(&mut self, spot: &Spot<'_>, guardrail: &Guardrail) {
        let mutator = guardrail.kind == GuardrailKind::Mutator;
        if guardrail.checks.is_empty() {
            let text =
                "has no checks; write e.g. default.contains: { words: [secret], operator: none }";
            self.report.mistake(spot, text);
        }
        if guardrail.background && mutator {
            self.report.mistake(spot, "a mutator rewrites what is waited for; remove async");
        } else if guardrail.background && guardrail.deny {
            self.report.warning(spot, "deny has no effect beside async: nobody waits for it");
        } else if mutator && guardrail.deny {
            self.report.warning(spot, "deny has no effect: a mutator rewrites and does not judge");
        }
        let redacts = guardrail.checks.iter().any(|check| check.test.redacts());
        if guardrail.stream == OnStream::End && redacts && !guardrail.background {
            let text = "stream: end is too late for what rewrites; write hold or window";
            self.report.mistake(spot, text);
        }
    }

    /// Every key that is none of a guardrail's own is a check.
    fn short_checks(&mut self, spot: &Spot<'_>, side: Side) -> Vec<Check> {
        let mut checks = Vec::new();
        for entry in spot.entries().filter(|entry| !OWN_KEYS.contains(&entry.name())) {
            let enabled = entry.get("is_enabled");
            let off = enabled.is_some_and(|found| matches!(found.tree.value, Value::Bool(false)));
            if !self.room_for_check(&entry, checks.len()) {
                break;
            }
            let check = self.check(&entry, entry.name(), Some(&entry), side);
            checks.extend(check.filter(|_| !off));
        }
        checks
    }

    fn long_checks(&mut self, spot: &Spot<'_>, side: Side) -> Vec<Check> {
        let long = [OWN_KEYS, &["checks"]].concat();
        for entry in spot.entries().filter(|entry| !long.contains(&entry.name())) {
            let hint = did_you_mean(entry.name(), long.iter().copied());
            self.report.about_key(&entry, format!("there is no such key{hint}"));
        }
        let Some(found) = self.field(spot, "checks") else {
            self.required(
                spot,
                "checks",
                "write e.g. checks: [{ id: default.contains, parameters: { … } }]",
            );
            return Vec::new();
        };
        let mut checks = Vec::new();
        if !self.is_list(&found, "a list of checks; write e.g. [{ id: default.contains }]") {
            return checks;
        }
        for item in found.items() {
            if !self.room_for_check(&item, checks.len()) {
                break;
            }
            if !self.is_map(&item) || !self.report.keys(&item, CHECK_KEYS, &[]) {
                continue;
            }
            let off = self.flag(&item, "is_enabled") == Some(false);
            let Some(id) = self.field(&item, "id") else {
                self.required(&item, "id", "write e.g. id: default.contains");
                continue;
            };
            let parameters = self.field(&item, "parameters");
            let Some(name) = self.string(&id, "the name of a check") else { continue };
            checks.extend(self.check(&id, name, parameters.as_ref(), side).filter(|_| !off));
        }
        checks
    }

    fn room_for_check(&mut self, spot: &Spot<'_>, before: usize) -> bool {
        self.checks += 1;
        let most = limits::GUARDRAIL_CHECKS_MAX;
        let most_inline = limits::INLINE_GUARDRAIL_CHECKS_MAX;
        if before >= most {
            self.report.mistake(spot, format!("a guardrail has at most {most} checks"));
            return false;
        }
        if self.inline && self.checks > most_inline {
            let text = format!("a config of a request has at most {most_inline} checks");
            self.report.mistake(spot, text);
            return false;
        }
        true
    }

    fn kind_of(&mut self, spot: &Spot<'_>, form: Form) -> GuardrailKind {
        const WHAT: &str = "guardrail or mutator";
        let default = match form {
            Form::Short(kind) => kind,
            Form::Long => GuardrailKind::Guardrail,
        };
        let Some(found) = self.field(spot, "type") else { return default };
        match self.string(&found, WHAT) {
            Some("guardrail") => GuardrailKind::Guardrail,
            Some("mutator") => GuardrailKind::Mutator,
            Some(_) => {
                self.report.mistake(&found, wrong(WHAT, &found.tree.shown()));
                default
            }
            None => default,
        }
    }

    fn on_stream(&mut self, spot: &Spot<'_>, side: Side) -> Option<OnStream> {
        const WHAT: &str = "hold, window or end";
        let found = self.field(spot, "stream")?;
        if side == Side::Input {
            self.report.about_key(&found, "belongs to a guardrail of answers; remove it");
            return None;
        }
        match self.string(&found, WHAT)? {
            "hold" => Some(OnStream::Hold),
            "window" => Some(OnStream::Window),
            "end" => Some(OnStream::End),
            _ => {
                self.report.mistake(&found, wrong(WHAT, &found.tree.shown()));
                None
            }
        }
    }

    fn feedback(&mut self, spot: &Spot<'_>) -> Option<Feedback> {
        if !self.is_map(spot) {
            return None;
        }
        let found = self.field(spot, "feedback")?;
        if !self.is_map(&found) {
            return None;
        }
        let json = |key: &str| found.get(key).map(|value| value.tree.to_json().to_string());
        let metadata = found.get("metadata");
        let members = metadata.iter().flat_map(|map| {
            map.entries().map(|entry| (entry.name().to_owned(), entry.tree.to_json().to_string()))
        });
        Some(Feedback { value: json("value"), weight: json("weight"), metadata: members.collect() })
    }
}

/// How a list of guardrails is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `before_request_hooks` and `after_request_hooks`.
    Long,
    /// `input_guardrails` and its like.
    Short(GuardrailKind),
}

fn default_id(side: Side, at: usize) -> String {
    match side {
        Side::Input => format!("input_guardrail_{}", at + 1),
        Side::Output => format!("output_guardrail_{}", at + 1),
    }
}

/// The keys of one side: hooks, their short form, mutators; and what holds for every target.
const KEYS: [(Side, [&str; 3], &str); 2] = [
    (
        Side::Input,
        ["before_request_hooks", "input_guardrails", "input_mutators"],
        "default_input_guardrails",
    ),
    (
        Side::Output,
        ["after_request_hooks", "output_guardrails", "output_mutators"],
        "default_output_guardrails",
    ),
];

/// The keys of a guardrail that are no checks.
pub const OWN_KEYS: &[&str] = &[
    "id",
    "name",
    "type",
    "deny",
    "async",
    "sequential",
    "stream",
    "on_fail",
    "on_success",
    "guardrail_version_id",
];
const CHECK_KEYS: &[&str] = &["id", "name", "parameters", "is_enabled"];
