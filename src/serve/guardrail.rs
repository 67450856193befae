//! Runs guardrails: those that call nobody at once, those that do side by side, each within its time.

use std::{borrow::Cow, cell::RefCell, pin::Pin, rc::Rc, sync::Arc};

use bytes::Bytes;

use super::{
    Core,
    errand::{self, Errand},
    verdict,
};
use crate::{
    base::{limits, units::Instant},
    config::{
        guardrail::{Callee, Check, Guardrail, Test},
        hosts,
    },
    io::{hub::Epoch, net::Net, race},
    policy::guardrail::{
        CheckResult, Finding, GuardrailResult, Subject,
        check::detected,
        judge, prefix, redact, text,
        webhook::{self, Told},
    },
    provider::Endpoint,
    wire::json,
};

/// What guardrails are told of an exchange.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What is called.
    pub endpoint: Endpoint,
    /// Who answers.
    pub provider: &'static str,
    /// The model, as it goes to the target.
    pub model: String,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// The request as it is judged, or was.
    pub request: Bytes,
    /// Its text.
    pub request_text: String,
    /// Whether guardrails rewrote it.
    pub request_rewritten: bool,
    /// The metadata of the exchange.
    pub metadata: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

/// Where guardrails run. It owns what it knows: some run when the exchange is over.
pub struct Scene<N: Net> {
    core: Rc<Core<N>>,
    #[allow(clippy::redundant_allocation, reason = "a core's own count, see the core's")]
    epoch: Rc<Arc<Epoch>>,
    facts: Rc<Facts>,
    /// Whether the request is judged, else its answer.
    before: bool,
}

impl<N: Net> Clone for Scene<N> {
    fn clone(&self) -> Scene<N> {
        Scene {
            core: Rc::clone(&self.core),
            epoch: Rc::clone(&self.epoch),
            facts: Rc::clone(&self.facts),
            before: self.before,
        }
    }
}

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

impl<N: Net> Scene<N> {
    /// On this core, for the request or its answer.
    pub fn new(core: &Rc<Core<N>>, facts: &Rc<Facts>, before: bool) -> Scene<N> {
        let (core, facts) = (Rc::clone(core), Rc::clone(facts));
        Scene { epoch: core.epoch(), core, facts, before }
    }

    /// Runs guardrails that are waited for, side by side; what they rewrite is in `judged` then.
    pub async fn run(
        &self,
        guardrails: &[Arc<Guardrail>],
        judged: &RefCell<Judged>,
    ) -> Vec<GuardrailResult> {
        let waited = guardrails.iter().filter(|guardrail| !guardrail.background);
        let running = waited.map(|guardrail| boxed(self.guardrail(guardrail, judged)));
        race::all(running.collect()).await
    }

    /// Runs the guardrails that nobody waits for. Those that call nobody are done at once; the others go on alone.
    pub fn run_unawaited(
        &self,
        guardrails: &[Arc<Guardrail>],
        judged: &Judged,
        mut note: impl FnMut(String),
    ) {
        for guardrail in guardrails.iter().filter(|guardrail| guardrail.background) {
            let calls = guardrail.calls();
            let counts = &self.core.counters.guardrails;
            let bytes =
                limits::EXCHANGE_BYTES as usize + 2 * (judged.body.len() + judged.text.len());
            let with_it =
                usize::try_from(counts.unawaited_bytes.get()).unwrap_or(usize::MAX) + bytes;
            if calls && with_it > limits::WEBHOOKS_UNAWAITED_BYTES_MAX {
                counts.not_called.add(1);
                note(format!(
                    "{} (async) not called: too much is being told already",
                    guardrail.id
                ));
                continue;
            }
            let (scene, guardrail) = (self.clone(), Arc::clone(guardrail));
            let judged = RefCell::new(judged.clone());
            if calls {
                note(format!("{} (async) called", guardrail.id));
                counts.unawaited_bytes.set(with_it);
                self.core.net.spawn(async move {
                    let result = scene.guardrail(&guardrail, &judged).await;
                    verdict::count(&scene.core, &result);
                    let held = &scene.core.counters.guardrails.unawaited_bytes;
                    let left = usize::try_from(held.get()).unwrap_or(usize::MAX);
                    held.set(left.saturating_sub(bytes));
                });
            } else {
                let results = guardrail.checks.iter().enumerate();
                let checks = results.map(|(at, check)| scene.local(at, check, &judged)).collect();
                let created = scene.core.net.unix_now();
                let result = GuardrailResult {
                    guardrail: Arc::clone(&guardrail),
                    checks,
                    took_millis: 0,
                    created,
                };
                verdict::count(&scene.core, &result);
                note(result.in_words());
            }
        }
    }

    async fn guardrail(
        &self,
        guardrail: &Arc<Guardrail>,
        judged: &RefCell<Judged>,
    ) -> GuardrailResult {
        let (begun, created) = (self.core.net.now(), self.core.net.unix_now());
        let mut checks = Vec::with_capacity(guardrail.checks.len());
        if guardrail.sequential {
            for (at, check) in guardrail.checks.iter().enumerate() {
                checks.push(self.check(at, check, judged).await);
            }
        } else {
            let (calls, local): (Vec<_>, Vec<_>) =
                guardrail.checks.iter().enumerate().partition(|(_, check)| check.test.is_call());
            checks.extend(local.into_iter().map(|(at, check)| self.local(at, check, judged)));
            if !calls.is_empty() {
                let running =
                    calls.into_iter().map(|(at, check)| boxed(self.check(at, check, judged)));
                checks.extend(race::all(running.collect()).await);
                checks.sort_by_key(|result| result.check);
            }
        }
        let took_millis = millis(self.core.net.now(), begun);
        GuardrailResult { guardrail: Arc::clone(guardrail), checks, took_millis, created }
    }

    async fn check(&self, at: usize, check: &Check, judged: &RefCell<Judged>) -> CheckResult {
        if !check.test.is_call() {
            return self.local(at, check, judged);
        }
        let (begun, created) = (self.core.net.now(), self.core.net.unix_now());
        let finding = match &check.test {
            Test::Call(callee) => self.call(callee, judged).await,
            Test::ValidUrls { only_dns } => self.urls(check.not, *only_dns, judged).await,
            _ => Finding::default(),
        };
        CheckResult { check: at, finding, took_millis: millis(self.core.net.now(), begun), created }
    }

    /// A check that calls nobody.
    fn local(&self, at: usize, check: &Check, judged: &RefCell<Judged>) -> CheckResult {
        let (begun, created) = (self.core.net.now(), self.core.net.unix_now());
        let finding = match &check.test {
            Test::Redact { patterns, fail_on_detection } => {
                self.redact(patterns, *fail_on_detection, &mut judged.borrow_mut())
            }
            Test::AddPrefix(wanted) => {
                let changed = self.prefixed(wanted, &mut judged.borrow_mut());
                let finding = judge(check, &self.subject(&judged.borrow()));
                Finding { transformed: changed, ..finding }
            }
            _ => judge(check, &self.subject(&judged.borrow())),
        };
        CheckResult { check: at, finding, took_millis: millis(self.core.net.now(), begun), created }
    }

    fn subject<'s>(&'s self, judged: &'s Judged) -> Subject<'s> {
        Subject {
            text: &judged.text,
            too_long: judged.too_long,
            model: &self.facts.model,
            request_type: text::request_type(self.facts.endpoint).unwrap_or_default(),
            metadata: &self.facts.metadata,
        }
    }

    fn redact(
        &self,
        patterns: &[crate::config::guardrail::Redaction],
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
                true => text::request_paths(self.facts.endpoint),
                false => text::answer_paths(self.facts.endpoint),
            };
            if let Some(body) = text::rewritten(&judged.body, &paths, &mut found) {
                self.replace(Bytes::from(body), judged);
            }
        }
        names.sort_unstable();
        names.dedup();
        detected(&names, fail_on_detection)
    }

    fn prefixed(&self, wanted: &crate::config::guardrail::Prefix, judged: &mut Judged) -> bool {
        let Ok(fields) = json::scan(&judged.body) else { return false };
        let Some(body) = prefix::added(wanted, self.facts.endpoint, &judged.body, &fields) else {
            return false;
        };
        self.replace(Bytes::from(body), judged);
        true
    }

    /// Takes a rewritten body. What decides where a request goes and how it is answered stays as it was.
    fn replace(&self, body: Bytes, judged: &mut Judged) {
        let Ok(fields) = json::scan(&body) else { return };
        judged.body = match self.before {
            true => text::with_kept_fields(&body, &fields, &judged.body),
            false => body,
        };
        judged.text = self.text_of(&judged.body);
        judged.rewritten = true;
    }

    /// What is judged of a body.
    pub fn text_of(&self, body: &[u8]) -> String {
        match (self.before, json::scan(body)) {
            (true, Ok(fields)) => text::of_request(self.facts.endpoint, body, &fields),
            (true, Err(_)) => String::new(),
            (false, _) => text::of_answer(self.facts.endpoint, body),
        }
    }

    async fn call(&self, callee: &Callee, judged: &RefCell<Judged>) -> Finding {
        let body = {
            let judged = judged.borrow();
            let before = self.before;
            webhook::body(&Told {
                before,
                request: if before { &judged.body } else { &self.facts.request },
                request_text: if before { &judged.text } else { &self.facts.request_text },
                stream: self.facts.stream,
                request_rewritten: self.facts.request_rewritten || (before && judged.rewritten),
                response: if before { b"" } else { &judged.body },
                response_text: if before { "" } else { &judged.text },
                provider: self.facts.provider,
                request_type: text::request_type(self.facts.endpoint).unwrap_or_default(),
                metadata: &self.facts.metadata,
            })
        };
        let errand = Errand {
            body: Some(Bytes::from(body)),
            origin: &callee.origin,
            target: &callee.target,
            headers: &callee.headers,
            within: callee.timeout,
            guarded: callee.guarded,
            answer_bytes_max: if callee.judges { limits::WEBHOOK_ANSWER_BYTES_MAX } else { 0 },
        };
        let answered = errand::run(&self.core, &self.epoch, &errand).await;
        let (finding, instead) = webhook::finding(callee, &answered, self.before);
        let mut judged = judged.borrow_mut();
        match instead {
            // A stream that is under way cannot be taken back.
            Some(body) if !judged.body.is_empty() => self.replace(Bytes::from(body), &mut judged),
            Some(_) => return Finding { transformed: false, ..finding },
            None => {}
        }
        finding
    }

    /// Asks whether the URLs of a text lead anywhere. They come from whoever wrote it: the rules for custom hosts hold.
    async fn urls(&self, not: bool, only_dns: bool, judged: &RefCell<Judged>) -> Finding {
        let text = judged.borrow().text.clone();
        if text.is_empty() {
            return Finding::error("Missing text to analyze");
        }
        let mut urls = webhook::urls(&text);
        urls.sort_unstable();
        urls.dedup();
        let looked_at = urls.iter().take(limits::GUARDRAIL_URLS_MAX);
        let running = looked_at.map(|url| boxed(self.url(url, only_dns)));
        let good = race::all(running.collect()).await;
        let checked: Vec<(&str, bool)> = urls.iter().copied().zip(good).collect();
        webhook::of_urls(not, only_dns, &checked, urls.len())
    }

    async fn url(&self, url: &str, only_dns: bool) -> bool {
        let base = url.split(['?', '#']).next().unwrap_or(url);
        let config = &self.epoch.config;
        let rules = &config.custom_hosts;
        let checked = hosts::check_custom_host(base, rules, config.open_on_loopback());
        let Ok(origin) = checked else { return false };
        if only_dns {
            return errand::has_address(&self.core, &self.epoch, &origin).await;
        }
        let after_host =
            url.find("://").and_then(|at| url.get(at + 3..)?.find('/').map(|s| at + 3 + s));
        let target = after_host.and_then(|at| url.get(at..)).unwrap_or("/");
        let target = target.split('#').next().unwrap_or(target);
        let errand = Errand {
            body: None,
            origin: &origin,
            target,
            headers: &[],
            within: limits::WEBHOOK_WITHIN,
            guarded: true,
            answer_bytes_max: 0,
        };
        let answered = errand::run(&self.core, &self.epoch, &errand).await;
        // A URL that leads elsewhere leads somewhere; it is not followed.
        answered.is_ok_and(|(status, _)| (200..400).contains(&status))
    }
}

fn boxed<'f, T>(future: impl Future<Output = T> + 'f) -> Pin<Box<dyn Future<Output = T> + 'f>> {
    Box::pin(future)
}

fn millis(now: Instant, begun: Instant) -> u64 {
    u64::try_from(now.since(begun).as_millis()).unwrap_or(u64::MAX)
}
