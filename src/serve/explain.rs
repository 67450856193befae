//! What would become of a request, by the code that would serve it, up to the point where something would be sent. No
//! socket is opened and no name is looked up: whether a target can be reached is not known here.

use std::net::SocketAddr;

use bytes::Bytes;

use super::{
    around::{Around, Surroundings},
    connection::Incoming,
    heads::Seen,
    judged::Brought,
    local,
    outgoing::{Outgoing, Sources},
    outgoing_head::Standing,
    question::Question,
    rescue,
    route::{Call, Route, route},
    target::TargetRules,
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        ids::ApiKeyId,
        units::{Instant, UnixTime},
    },
    config::{Config, policy::Policy},
    policy::{
        ahead::ahead,
        condition::Facts,
        explain::{self, Explanation, Target},
        health::Snapshot,
        key::{self, Caller},
        plan::plan_with,
        request_headers::{self, merge_metadata},
        resolve::ResolvedTarget,
        target::{Asked, Choice},
    },
    provider::Fit,
    wire::head::{HeadLimits, Progress, parse_request},
};

/// A request that is not sent.
pub struct Imagined<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, with a query or without.
    pub path: &'a str,
    /// Name and value, in order.
    pub headers: &'a [(String, String)],
    /// The body.
    pub body: Bytes,
    /// Who is calling, by the name of an API key; `None`: the headers say.
    pub api_key: Option<&'a str>,
}

/// What it is asked of.
pub struct Ground<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Where the gateway listens.
    pub listeners: &'a [SocketAddr],
    /// The dice.
    pub seed: u64,
    /// When the request comes.
    pub now: UnixTime,
    /// What is known of the targets of a policy.
    pub health: &'a dyn Fn(&Policy) -> Snapshot,
}

/// What would become of a request.
#[derive(Debug, Default)]
pub struct Told {
    /// The dice.
    pub seed: u64,
    /// The API key's name, or empty.
    pub api_key: String,
    /// The config's name, `inline:DIGEST`, or empty: a target alone.
    pub config: String,
    /// The model that it asks for, or empty.
    pub model: String,
    /// The status and the fault, if it would be refused before any target is tried.
    pub refused: Option<(u16, Fault)>,
    /// What strategies chose.
    pub choices: Vec<ToldChoice>,
    /// Every target: in trying order, then those that are not tried.
    pub targets: Vec<ToldTarget>,
    /// Where among the targets, and with which message, a strategy refuses.
    pub refusals: Vec<(usize, String)>,
}

/// What one strategy chose.
#[derive(Debug)]
pub struct ToldChoice {
    /// Its place in the config.
    pub path: String,
    /// Its kind.
    pub strategy: &'static str,
    /// The place of what it chose.
    pub chose: Option<String>,
    /// Why.
    pub why: String,
}

/// One target.
#[derive(Debug, Default)]
pub struct ToldTarget {
    /// Its place in the config.
    pub path: String,
    /// Its name, or empty.
    pub name: String,
    /// Its place in the trying order, from 0; `None`: it is not tried.
    pub order: Option<usize>,
    /// Why, in a word.
    pub reason: &'static str,
    /// Why, in a sentence.
    pub why: String,
    /// Its virtual key, or empty.
    pub virtual_key: String,
    /// How many credentials that has, if several.
    pub credentials: usize,
    /// Its provider.
    pub provider: String,
    /// The model that would be sent, or empty.
    pub model: String,
    /// Where to.
    pub url: String,
    /// `same`: the body passes byte for byte but for the config's edits; `translated`; empty: unknown.
    pub format: &'static str,
    /// Parameters that the provider has no counterpart for.
    pub dropped: Vec<String>,
    /// Why it cannot take the request: it would be passed over.
    pub unfit: Option<String>,
    /// How often it is tried again.
    pub retries: u32,
    /// On which statuses.
    pub retry_codes: Vec<u16>,
    /// Its hedge, mirror and guardrails, if it is tried.
    pub around: Around,
}

impl Told {
    /// What an explanation says, nothing known of where targets lead.
    #[must_use]
    pub fn of(explanation: &Explanation<'_>) -> Told {
        let choices = explanation.choices.iter().map(|choice| ToldChoice {
            path: choice.path.to_owned(),
            strategy: choice.strategy,
            chose: choice.chose.map(str::to_owned),
            why: choice.why.clone(),
        });
        let refusals = explanation.refusals.iter().map(|(at, refusal)| (*at, refusal.to_string()));
        Told {
            choices: choices.collect(),
            targets: explanation.targets.iter().map(ToldTarget::of).collect(),
            refusals: refusals.collect(),
            ..Told::default()
        }
    }
}

impl ToldTarget {
    fn of(target: &Target<'_>) -> ToldTarget {
        let retry = &target.leaf.retry;
        ToldTarget {
            path: target.path.to_owned(),
            name: target.name.unwrap_or_default().to_owned(),
            order: target.order,
            reason: target.reason.as_str(),
            why: target.why.clone(),
            retries: retry.attempts,
            retry_codes: if retry.attempts > 0 {
                retry.on_status_codes.clone()
            } else {
                Vec::new()
            },
            ..ToldTarget::default()
        }
    }
}

/// Explains a request. Whatever refuses it is part of the explanation.
#[must_use]
pub fn explain(imagined: &Imagined<'_>, ground: &Ground<'_>) -> Told {
    let mut told = Told { seed: ground.seed, ..Told::default() };
    if let Err(fault) = fill(imagined, ground, &mut told) {
        told.refused = Some((rescue::status(&fault), fault));
    }
    told
}

/// The arrow as far as the plan: the steps of [`super::exchange`], in its order.
fn fill(imagined: &Imagined<'_>, ground: &Ground<'_>, told: &mut Told) -> Result<(), Fault> {
    let config = ground.config;
    let incoming = incoming(imagined, ground)?;
    let call = match route(incoming.head().method, incoming.path()) {
        Route::Api(call) => call,
        _ => return Err(no_call(imagined)),
    };
    let options = request_headers::parse(incoming.head().headers(incoming.bytes()))?;
    let caller = caller(imagined, ground, &incoming)?;
    let api_key = caller.api_key.and_then(|id| config.api_keys.get(id.0 as usize));
    told.api_key = api_key.map_or_else(String::new, |key| key.name.clone());
    caller.check_forwarding(options.forward_headers.as_deref().unwrap_or_default())?;
    let question = Question::offline(&incoming, &call, config, imagined.body.clone())?;
    let model = question.model()?;
    told.model = model.as_deref().unwrap_or_default().to_owned();
    let asked = Asked { config, caller: &caller, options: &options, model: model.as_deref() };
    if local::lists_models(&call, &asked) {
        return Ok(());
    }
    let rules = TargetRules::of(ground.listeners, config, &options);
    let choice = rules.choose(asked)?;
    told.config = choice.config_label.clone().into_owned();
    let facts = Facts {
        fixed_metadata: api_key.map_or(&[], |key| &key.metadata),
        metadata: &options.metadata,
        metadata_json: &options.metadata_json,
        params: question.object(),
        path: incoming.path(),
    };
    let policy = choice.policy();
    let health = (ground.health)(policy);
    let explanation = explain::explain(policy, ground.seed, &facts, &health);
    let Told { choices, targets, refusals, .. } = Told::of(&explanation);
    (told.choices, told.targets, told.refusals) = (choices, targets, refusals);
    let leads = Leads { incoming: &incoming, call, caller, question: &question, choice: &choice };
    for (target, told) in explanation.targets.iter().zip(&mut told.targets) {
        leads.follow(config, target, told);
    }
    let brought = Brought::of_headers(config, api_key, &options)?;
    let metadata = merge_metadata(&options.metadata, facts.fixed_metadata);
    let (call, question, seed) = (&leads.call, &question, ground.seed);
    let (choice, brought, metadata) = (&choice, &brought, &*metadata);
    let surroundings = Surroundings { config, call, question, choice, brought, metadata, seed };
    let plan = plan_with(policy, seed, &facts, &health);
    for one in ahead(&plan) {
        let told = told.targets.iter_mut().find(|target| target.path == one.leaf.path);
        told.into_iter().for_each(|target| target.around = surroundings.of(&one));
    }
    match explanation.refusals.first() {
        Some((0, refusal)) => Err((*refusal).into()),
        _ => Ok(()),
    }
}

/// The head as it would arrive.
fn incoming(imagined: &Imagined<'_>, ground: &Ground<'_>) -> Result<Incoming, Fault> {
    let has =
        |name: &str| imagined.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let mut text = format!("{} {} HTTP/1.1\r\n", imagined.method, imagined.path);
    for (name, value) in imagined.headers {
        let fine = |text: &str| !text.contains(['\r', '\n', '\0']);
        if !fine(name) || !fine(value) || name.is_empty() {
            return Err(bad_head(format!("the header `{}` cannot be sent", name.escape_debug())));
        }
        let framing = ["content-length", "transfer-encoding"];
        if !framing.iter().any(|known| name.eq_ignore_ascii_case(known)) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    if !has("host") {
        text.push_str("host: localhost\r\n");
    }
    if !imagined.body.is_empty() {
        if !has("content-type") {
            text.push_str("content-type: application/json\r\n");
        }
        text.push_str(&format!("content-length: {}\r\n", imagined.body.len()));
    }
    text.push_str("\r\n");
    let bytes = Bytes::from(text);
    let limits = HeadLimits { head_bytes: ground.config.limits.head_bytes };
    let head = parse_request(&bytes, &mut Progress::default(), &limits)
        .map_err(|error| bad_head(error.message()))?
        .filter(|head| head.len == bytes.len())
        .ok_or_else(|| bad_head("the head is not whole"))?;
    let now = Instant::default();
    Ok(Incoming {
        repeated: false,
        head_bytes: head.len,
        framing: head.framing,
        keep_alive: false,
        seen: Seen::new(head, bytes),
        accepted: now,
        accepted_unix: ground.now,
        head_at: now,
    })
}

fn caller<'r>(
    imagined: &Imagined<'_>,
    ground: &Ground<'_>,
    incoming: &'r Incoming,
) -> Result<Caller<'r>, Fault> {
    let lookup = incoming.lookup();
    let Some(name) = imagined.api_key else {
        return key::identify(&lookup, ground.config, ground.now);
    };
    let at = ground.config.api_keys.iter().position(|key| key.name == name);
    match at.and_then(|at| u32::try_from(at).ok()) {
        Some(id) => Ok(key::identify_as(&lookup, ground.config, ApiKeyId(id))),
        None => {
            let message = format!("the configuration has no API key of the name `{name}`");
            Err(Fault::new(Stage::Auth, Source::Client, Kind::Unauthenticated, message))
        }
    }
}

/// What says where a target leads.
struct Leads<'a> {
    incoming: &'a Incoming,
    call: Call<'a>,
    caller: Caller<'a>,
    question: &'a Question,
    choice: &'a Choice<'a>,
}

impl Leads<'_> {
    fn follow(&self, config: &Config, target: &Target<'_>, told: &mut ToldTarget) {
        let resolved = match self.choice.resolve(target.leaf) {
            Ok(resolved) => resolved,
            Err(fault) => {
                told.unfit = Some(with_field(fault));
                return self.name(config, target, told);
            }
        };
        self.name(config, target, told);
        told.provider = resolved.adapter.name().to_owned();
        told.model = resolved.model.as_deref().unwrap_or_default().to_owned();
        told.url = self.url(&resolved);
        let sources = Sources {
            incoming: self.incoming,
            call: &self.call,
            caller: &self.caller,
            question: self.question,
            rewritten_model: self.choice.rewritten_model,
            target: &resolved,
            leaf: target.leaf,
            epoch: 0,
            standing: Standing::Request, // nothing is kept for a next time
        };
        match sources.build() {
            Ok(Outgoing { fit, dropped, .. }) => {
                told.format = if fit == Fit::Translate { "translated" } else { "same" };
                told.dropped = dropped.into_iter().map(String::from).collect();
            }
            Err(fault) => told.unfit = Some(with_field(fault)),
        }
    }

    /// By whose name it goes, also where it cannot.
    fn name(&self, config: &Config, target: &Target<'_>, told: &mut ToldTarget) {
        let Some((virtual_key, provider)) = self.choice.leads_to(target.leaf) else { return };
        told.provider = provider.name().to_owned();
        let key = virtual_key.and_then(|id| config.virtual_keys.get(id.0 as usize));
        if let Some(key) = key {
            told.virtual_key.clone_from(&key.name);
            told.credentials = key.credentials.len();
        }
    }

    fn url(&self, resolved: &ResolvedTarget<'_>) -> String {
        let origin = &resolved.origin;
        let scheme = if origin.tls { "https" } else { "http" };
        let path = resolved.adapter.path(self.call.endpoint, self.call.rest);
        format!("{scheme}://{}{}{path}", origin.authority, origin.path)
    }
}

/// The message of a fault, and which field it is of.
fn with_field(fault: Fault) -> String {
    let message = fault.message;
    let mut words = message.split(|c: char| !c.is_alphanumeric() && c != '_');
    let mut names = |field: &str| words.any(|word| word == field);
    match fault.param {
        Some(field) if !names(&field) => format!("{field}: {message}"),
        _ => message.into_owned(),
    }
}

fn no_call(imagined: &Imagined<'_>) -> Fault {
    let Imagined { method, path, .. } = imagined;
    let message = format!("{method} {path} goes to no target: name a path below /v1");
    Fault::new(Stage::Head, Source::Client, Kind::NoRoute, message)
}

fn bad_head(message: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
    Fault::new(Stage::Head, Source::Client, Kind::BadRequest, message)
}
