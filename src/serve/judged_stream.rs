//! Guardrails around a stream: the digest that holds it back, and what they found in it.

use std::{rc::Rc, sync::Arc};

use super::{
    Core,
    attempts::Attempts,
    client::Client,
    digest::Digest,
    guarded::{self, Guarded, StreamGuard},
    guardrail::Scene,
    judged::Guarding,
    verdict::{self, target_of},
};
use crate::{
    io::net::{Net, Reader, Writer},
    journal::entry::Entry,
    policy::guardrail::{stream::Holding, text},
};

impl<'e> Attempts<'_, 'e> {
    /// A stream under guardrails: the digest around its own, and what it is judged by.
    pub(super) fn guard_stream<N: Net>(
        &self,
        core: &Rc<Core<N>>,
        guarding: &Guarding,
        strict: bool,
        inner: Box<dyn Digest>,
    ) -> (Box<dyn Digest>, Option<Box<StreamGuard>>) {
        let judged = text::answers_in_text(self.call.endpoint);
        let outputs = &guarding.guardrails.output;
        let waited = outputs.iter().filter(|one| !one.background && judged);
        let waited: Vec<_> = waited.map(Arc::clone).collect();
        let first = !strict && !guarding.input.is_empty();
        let observed = judged && outputs.iter().any(|one| one.background);
        if waited.is_empty() && !observed && !first {
            return (inner, None);
        }
        let dialect = self.call.dialect;
        let scene = Scene::new(core, &guarding.facts, false);
        let known = (Rc::clone(&guarding.input), Rc::clone(&guarding.found));
        let holding = Holding::new(self.call.endpoint, waited);
        let stream = StreamGuard::new(&scene, holding, known, !strict, dialect);
        let results = || guarded::results_event(dialect, "before_request_hooks", &guarding.input);
        let digest = Guarded::new(inner, &stream, first.then(results), core.net.unix_now());
        (Box::new(digest), Some(Box::new(stream)))
    }

    /// Notes what guardrails found in streams so far.
    pub(super) fn note_found<N: Net, R: Reader, W: Writer>(
        &self,
        client: &Client<N, R, W>,
        entry: &mut Entry<'e>,
    ) {
        let found = self.brought.found();
        let path = target_of(entry);
        verdict::note(&client.core, entry, (&path, "output"), &found);
    }
}

/// Notes what the guardrails of a stream found, and runs those that nobody waits for if it is `whole`.
pub(super) fn note_stream<N: Net, R: Reader, W: Writer>(
    client: &Client<N, R, W>,
    guarding: &Guarding,
    stream: Option<&StreamGuard>,
    entry: &mut Entry<'_>,
    whole: bool,
) {
    let path = target_of(entry);
    verdict::note(&client.core, entry, (&path, "output"), &guarding.found.take());
    let Some(stream) = stream.filter(|_| whole) else { return };
    let mut lines = Vec::new();
    let outputs = &guarding.guardrails.output;
    let scene = Scene::new(&client.core, &guarding.facts, false);
    scene.run_unawaited(outputs, &stream.judged(), |line| lines.push(line));
    verdict::note_lines(entry, (&path, "output"), lines);
}
