//! Checks that call nobody, made on a body: what they find in it, and what they make of it.

use std::borrow::Cow;

use bytes::Bytes;

use super::{
    check::{Finding, Subject, detected, judge},
    prefix, redact, text,
};
use crate::{
    config::guardrail::{Check, Prefix, Redaction, Test},
    provider::Endpoint,
    wire::json,
};

/// What is judged, and may be rewritten on the way.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// The body, JSON; empty: it came as a stream.
    pub body: Bytes,
    /// Its text.
    pub text: String,
    /// There is more text than is judged.
    pub too_long: bool,
    /// Whether it was rewritten.
    pub rewritten: bool,
}

/// What a body belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Matter<'a> {
    /// What is called.
    pub endpoint: Endpoint,
    /// Whether the body is a request's, else its answer's.
    pub before: bool,
    /// The model, as it goes to the target.
    pub model: &'a str,
    /// The metadata of the exchange.
    pub metadata: &'a [(Cow<'a, str>, Cow<'a, str>)],
}

impl Matter<'_> {
    /// Makes one check; what it rewrites is in `judged` then.
    #[must_use]
    pub fn check(&self, check: &Check, judged: &mut Judged) -> Finding {
        match &check.test {
            Test::Redact { patterns, fail_on_detection } => {
                self.redact(patterns, *fail_on_detection, judged)
            }
            Test::AddPrefix(wanted) => {
                let changed = self.prefixed(wanted, judged);
                let finding = judge(check, &self.subject(judged));
                Finding { transformed: changed, ..finding }
            }
            _ => judge(check, &self.subject(judged)),
        }
    }

    fn subject<'s>(&'s self, judged: &'s Judged) -> Subject<'s> {
        Subject {
            text: &judged.text,
            too_long: judged.too_long,
            model: self.model,
            request_type: text::request_type(self.endpoint).unwrap_or_default(),
            metadata: self.metadata,
        }
    }

    fn redact(
        &self,
        patterns: &[Redaction],
        fail_on_detection: bool,
        judged: &mut Judged,
    ) -> Finding {
        let mut names: Vec<&str> = Vec::new();
        let mut found = |text: &str| {
            let finds = redact::finds(patterns.iter(), text);
            names.extend(finds.iter().map(|find| find.name));
            (!finds.is_empty()).then(|| redact::replaced(text, &finds, text.len()))
        };
        // A stream's events are rewritten where they are held.
        if judged.body.is_empty() {
            found(&judged.text);
        } else {
            let paths = match self.before {
                true => text::request_paths(self.endpoint),
                false => text::answer_paths(self.endpoint),
            };
            if let Some(body) = text::rewritten(&judged.body, &paths, &mut found) {
                self.replace(Bytes::from(body), judged);
            }
        }
        names.sort_unstable();
        names.dedup();
        detected(&names, fail_on_detection)
    }

    fn prefixed(&self, wanted: &Prefix, judged: &mut Judged) -> bool {
        let Ok(fields) = json::scan(&judged.body) else { return false };
        let Some(body) = prefix::added(wanted, self.endpoint, &judged.body, &fields) else {
            return false;
        };
        self.replace(Bytes::from(body), judged);
        true
    }

    /// Takes a rewritten body. What decides where a request goes and how it is answered stays as it was.
    pub fn replace(&self, body: Bytes, judged: &mut Judged) {
        let Ok(fields) = json::scan(&body) else { return };
        judged.body = match self.before {
            true => text::with_kept_fields(&body, &fields, &judged.body),
            false => body,
        };
        judged.text = self.text_of(&judged.body);
        judged.rewritten = true;
    }

    /// What is judged of a body.
    #[must_use]
    pub fn text_of(&self, body: &[u8]) -> String {
        match (self.before, json::scan(body)) {
            (true, Ok(fields)) => text::of_request(self.endpoint, body, &fields),
            (true, Err(_)) => String::new(),
            (false, _) => text::of_answer(self.endpoint, body),
        }
    }
}
