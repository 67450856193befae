//! Why a try was left: for the walk, for the record, for the client if no later try does better.

use std::borrow::Cow;

use super::{
    attempts::{Attempts, End, Kept},
    client::{Client, gone},
    digest::Ended,
    upstream::Failed,
};
use crate::{
    base::fault::{Fault, Kind, Stage},
    io::net::{Net, Reader, Writer},
    journal::entry::{Entry, kind_word},
    policy::attempt::{Network, Outcome},
};

impl Attempts<'_> {
    /// An answer that broke, or was denied, before anything of it was sent.
    pub(super) fn end_of<N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        entry: &mut Entry<'_>,
        ended: Ended,
    ) -> End<N> {
        let outcome = match (ended.fault.kind, ended.status) {
            (Kind::Guardrail, _) => Outcome::Denied { answer: true },
            (_, Some(status)) => Outcome::Network(Network::StreamError { status }),
            (_, None) => Outcome::Network(network(&ended.fault)),
        };
        self.left(client, entry, outcome, ended.fault)
    }

    /// A try that brought no answer. An error ends the exchange.
    pub(super) fn failed<N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        entry: &mut Entry<'_>,
        failed: Failed,
    ) -> Result<End<N>, Fault> {
        let (outcome, fault) = match failed {
            Failed::ClientGone => return Err(gone("the client closed before it was answered")),
            Failed::RequestTimeout(fault) => (Outcome::RequestTimeout, fault),
            Failed::Fault(fault) if matches!(fault.kind, Kind::HostRefused | Kind::ClientGone) => {
                return Err(fault);
            }
            Failed::Fault(fault) => (Outcome::Network(network(&fault)), fault),
        };
        Ok(self.left(client, entry, outcome, fault))
    }

    /// A try that brought nothing.
    pub(super) fn left<N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        entry: &mut Entry<'_>,
        outcome: Outcome,
        fault: Fault,
    ) -> End<N> {
        let at = entry.at(client.now());
        if let Some(attempt) = entry.attempt() {
            attempt.ended = at;
            attempt.left = left_word(&fault);
            attempt.detail = Cow::Owned(match &fault.told {
                Some(told) => format!("{}: {}", told.kind, fault.message),
                None => fault.message.clone().into_owned(),
            });
        }
        End::Left { outcome, kept: Kept::Fault(fault) }
    }
}

/// What the walk makes of a fault.
fn network(fault: &Fault) -> Network {
    match fault.kind {
        Kind::ConnectTimeout => Network::ConnectTimeout,
        Kind::Timeout => Network::FirstByteTimeout,
        Kind::Truncated => Network::Truncated,
        Kind::Unreachable => Network::Unreachable,
        _ => Network::Protocol,
    }
}

/// Why a try was left, in a word.
fn left_word(fault: &Fault) -> &'static str {
    match (fault.kind, fault.stage) {
        (Kind::Timeout, Stage::FirstByte) => "timeout_first_byte",
        (Kind::Timeout, Stage::Relay) => "timeout_idle",
        (kind, _) => kind_word(kind),
    }
}
