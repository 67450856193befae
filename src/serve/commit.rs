//! The commit point: an answer becomes the client's, and what only another try would need is let go. An answer that is
//! written anew is written here.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::{
    account::{Basis, account},
    arriving::Lost,
    attempt::Tried,
    attempts::Attempts,
    client::{Client, gone},
    committed::Committed,
    respond::Notes,
};
use crate::{
    base::{
        fault::{Fault, Source},
        limits,
    },
    chat::{estimate, reply::Reply},
    dialect::{self, speak},
    io::net::{Net, Reader, Writer},
    journal::entry::Entry,
};

impl<'e> Attempts<'_, 'e> {
    /// Commits to a good answer, which has come to where the client may be told of it.
    pub(super) fn commit_good<N: Net>(
        &self,
        mut tried: Box<Tried<N>>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Committed<N> {
        let reply = tried.reply.take();
        let text = reply.map(|reply| self.reply_text(&tried, &reply, entry));
        self.commit(tried, text, entry, notes)
    }

    /// Commits to the answer that is left when no target does better.
    pub(super) async fn commit_rest<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        mut tried: Box<Tried<N>>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Result<Committed<N>, Fault> {
        if let Some(verdict) = tried.verdict.take() {
            return Ok(self.commit_verdict(tried, *verdict, entry, notes));
        }
        notes.provider = Some(tried.adapter.name());
        notes.error_source = Some(Source::Upstream.as_str());
        if self.must_rewrite(&tried) {
            let text = self.error_text(client, &mut tried).await?;
            return Ok(self.commit(tried, Some(text), entry, notes));
        }
        match tried.arriving.until_commit(client).await {
            Ok(()) => Ok(self.commit(tried, None, entry, notes)),
            Err(Lost::Client) => Err(gone("the client closed")),
            Err(Lost::Upstream(ended)) => Err(ended.fault),
        }
    }

    /// Commits to an answer. `text`: its body, if it was written anew.
    pub(super) fn commit<N: Net>(
        &self,
        mut tried: Box<Tried<N>>,
        text: Option<Bytes>,
        entry: &mut Entry<'e>,
        notes: &mut Notes<'e>,
    ) -> Committed<N> {
        if !tried.dropped.is_empty() {
            notes.dropped_params = tried.dropped.join(",");
            entry.dropped_params =
                std::mem::take(&mut tried.dropped).into_iter().map(Cow::into_owned).collect();
        }
        let basis = match text {
            Some(_) => Basis::Nothing, // what it used is noted
            None => self.basis(!tried.arriving.complete),
        };
        let status = tried.status();
        Committed { tried, text, basis, status, lesson: None }
    }

    /// What the use of an answer is estimated from. `lasting`: it may be under way for long.
    pub(super) fn basis(&self, lasting: bool) -> Basis {
        Basis::of(self.question, self.call, lasting)
    }

    /// A plain answer written anew, and accounted for.
    pub(super) fn reply_text<N: Net>(
        &self,
        tried: &Tried<N>,
        reply: &Reply,
        entry: &mut Entry<'e>,
    ) -> Bytes {
        let model = (!reply.model.is_empty()).then(|| reply.model.clone());
        let estimate = || self.basis(false).estimate(tried.status(), estimate::of_reply(reply));
        account(entry, tried.adapter, reply.usage.or_else(estimate), model);
        let meta = self.meta(&tried.model, tried.strict, tried.withhold_usage);
        Bytes::from(speak::write_reply(self.call.dialect, reply, meta))
    }

    /// A provider's error in the client's dialect.
    async fn error_text<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        tried: &mut Tried<N>,
    ) -> Result<Bytes, Fault> {
        let mut body = BytesMut::new();
        let most = limits::ERROR_BODY_BYTES_MAX;
        // Of an error that breaks off the status says enough.
        if let Err(Lost::Client) = tried.arriving.collect(client, most, &mut body).await {
            return Err(gone("the client closed"));
        }
        let (status, name) = (tried.status(), tried.adapter.name());
        let (kind, message) = match tried.adapter.error(status, &body) {
            Some(error) => (error.kind, format!("{name} error: {}", error.message)),
            None => {
                let text = String::from_utf8_lossy(&body);
                let text: String = text.chars().take(limits::ERROR_EXCERPT_CHARS_MAX).collect();
                ("upstream_error".to_owned(), format!("{name} answered {status}: {}", text.trim()))
            }
        };
        let text = dialect::error_body(self.call.dialect, status, &kind, &message, None, None);
        Ok(Bytes::from(text))
    }
}
