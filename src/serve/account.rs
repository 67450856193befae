//! What an exchange used: tokens and money, as its provider says, or as they are estimated where it does not.

use std::borrow::Cow;

use bytes::Bytes;

use super::{passing::is_generated, question::Question, route::Call};
use crate::{
    chat::{estimate, usage::Usage},
    journal::entry::Entry,
    policy::{attempt::FAILED_STATUS, price},
    provider::{Adapter, Endpoint},
};

/// What an estimate is made from, beside the answer.
pub(super) enum Basis {
    /// What a request like this one uses is not counted.
    Nothing,
    /// The request's body.
    Body(Bytes),
    /// About how many tokens it has: all that is kept of it while an answer takes its time.
    Tokens(u64),
}

impl Basis {
    /// Of a request. `lasting`: its answer may be under way for long.
    pub(super) fn of(question: &Question, call: &Call<'_>, lasting: bool) -> Basis {
        let Question::Json { body, .. } = question else { return Basis::Nothing };
        // A response that is made in the background has not been made yet.
        let made =
            call.endpoint != Endpoint::Responses || question.field("background") != Some(b"true");
        match made && call.typed && is_generated(call.endpoint) {
            false => Basis::Nothing,
            true if lasting => Basis::Tokens(estimate::of_request(body)),
            true => Basis::Body(body.clone()),
        }
    }

    /// What a complete answer used, where the provider does not say.
    pub(super) fn estimate(&self, status: u16, output: u64) -> Option<Usage> {
        if !matches!(status, 200 | FAILED_STATUS) {
            return None;
        }
        match self {
            Basis::Nothing => None,
            Basis::Body(body) => Some(estimate::usage(estimate::of_request(body), output)),
            Basis::Tokens(input) => Some(estimate::usage(*input, output)),
        }
    }
}

/// Notes tokens and money.
pub(super) fn account(
    entry: &mut Entry<'_>,
    adapter: &'static dyn Adapter,
    usage: Option<Usage>,
    model: Option<String>,
) {
    if let Some(model) = model {
        entry.served_model = Cow::Owned(model);
    } else if let Some(attempt) = entry.attempts.last() {
        entry.served_model = attempt.model.clone();
    }
    entry.usage = usage;
    if let Some(usage) = &entry.usage {
        let (provider, at) = (adapter.name(), entry.accepted_unix);
        entry.cost = Some(price::cost(provider, &entry.served_model, usage, at));
    }
}
