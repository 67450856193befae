//! One request, from its head to its record. `settle` is the arrow up to the commit point: each of its lines is a step.

use std::{borrow::Cow, pin::pin, rc::Rc, sync::Arc};

use super::{
    attempts::Attempts,
    care::{self, Care},
    client::Client,
    committed::Committed,
    connection::{After, Incoming},
    cors::{self, Sharing},
    guard::guard,
    judged::Brought,
    local, peer,
    question::Question,
    rescue,
    respond::{Notes, Timing},
    route::{Call, Route, dialect_of, route},
    target::TargetRules,
    tend,
    upstream::Total,
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        ids::RequestId,
    },
    dialect::Dialect,
    io::{
        hub::Epoch,
        log::Submitted,
        net::{Net, Reader, Writer},
    },
    journal::entry::Entry,
    policy::{
        condition::Facts,
        key::{self, Caller},
        plan::plan_with,
        request_headers::{self, merge_metadata},
        target::{Asked, PolicyRef},
    },
    wire::{head::Framing, record},
};

/// Serves one request, whatever it is.
pub async fn serve<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
) -> After {
    client.body_taken = 0;
    client.body_pending = !matches!(incoming.framing, Framing::None | Framing::Length(0));
    let call = match route(incoming.head().method, incoming.path()) {
        Route::Alive => return local::alive(client, incoming).await,
        Route::Ready => return local::ready(client, incoming).await,
        Route::Api(call) => Ok(call),
        Route::WrongMethod { allow } => {
            let message = format!("this route does not take {}", incoming.method());
            Err(Fault::new(Stage::Head, Source::Client, Kind::Method, message).at(allow))
        }
        Route::Unknown => {
            let message = "no such route: the API is below /v1, e.g. POST /v1/chat/completions";
            Err(Fault::new(Stage::Head, Source::Client, Kind::NoRoute, message))
        }
    };
    logged(client, incoming, &call).await
}

/// Serves a request that makes a record, whatever becomes of it.
async fn logged<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
    call: &Result<Call<'_>, Fault>,
) -> After {
    let epoch = client.core.epoch();
    client.core.counters.exchanges.add(1);
    let dialect = match call {
        Ok(call) => call.dialect,
        Err(_) => dialect_of(incoming.path().strip_prefix("/v1").unwrap_or_default()),
    };
    let mut entry = Entry::default();
    begin(&mut entry, client, incoming, &epoch, dialect);
    let mut notes = begin_notes(&entry, Sharing::of(incoming, &epoch.config));
    let sent_before = client.sent;
    let outcome = match call {
        Ok(call) => {
            let work = exchange(client, incoming, call, &epoch, &mut entry, &mut notes);
            let done = guard(pin!(work)).await;
            done.unwrap_or_else(|place| {
                client.core.counters.bugs.add(1);
                Err(rescue::bug(&place))
            })
        }
        Err(fault) if cors::is_preflight(incoming, fault, notes.sharing) => {
            Ok(Box::pin(cors::preflight(client, incoming, &mut entry, &mut notes)).await)
        }
        Err(fault) => Err(fault.clone()),
    };
    let after = match outcome {
        Ok(after) => after,
        Err(fault) => {
            Box::pin(fail(client, incoming, dialect, fault, &mut entry, &mut notes)).await
        }
    };
    entry.client_bytes_in = incoming.head_bytes as u64 + client.body_taken;
    entry.client_bytes_out = client.sent - sent_before;
    finish(client, &mut entry, &epoch).await;
    client.hold.end();
    after
}

/// Answers with the fault that an exchange ended in.
async fn fail<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
    dialect: Dialect,
    fault: Fault,
    entry: &mut Entry<'_>,
    notes: &mut Notes<'_>,
) -> After {
    let fault = match fault.kind {
        Kind::ClientGone | Kind::Timeout(_) | Kind::ConnectTimeout => client.cut().unwrap_or(fault),
        _ => fault,
    };
    // A bug struck while the answer was on its way: nobody knows how much of it is out.
    let under_way = client.answered.is_some() && entry.status == 0;
    entry.truncated |= under_way && fault.kind == Kind::Bug;
    let after = rescue::answer(client, incoming, dialect, &fault, notes).await;
    entry.status = client.answered.unwrap_or_default();
    entry.client_gone |= fault.kind == Kind::ClientGone;
    entry.fault = Some(fault);
    after
}

/// What the request comes to, then the way of its answer to the client. What was learnt on the way is in `entry` and
/// `notes`, also when it ends in a fault.
async fn exchange<'e, N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &'e Incoming,
    call: &Call<'e>,
    epoch: &'e Arc<Epoch>,
    entry: &mut Entry<'e>,
    notes: &mut Notes<'e>,
) -> Result<After, Fault> {
    // In a place of its own, which is free again once the answer is on its way: a stream may be open for an hour.
    let place = Box::new_uninit();
    let settling = Box::write(place, settle(client, incoming, call, epoch, entry, notes));
    let mut committed = match Box::into_pin(settling).await? {
        Settled::Committed(committed) => committed,
        Settled::Told(after) => return Ok(after),
    };
    if !committed.holds_request() && client.bodies.is_none() {
        client.hold.request_freed(); // with the place above
    }
    let passed = committed.pass_on(client, incoming, call.dialect, notes).await;
    Ok(committed.end(client, passed, entry, notes))
}

/// What a request has come to.
enum Settled<N: Net> {
    /// The answer of a target is to be passed on.
    Committed(Committed<N>),
    /// Trunkline itself has answered.
    Told(After),
}

/// The arrow: head, API key, body, plan, attempts, commit.
async fn settle<'e, N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &'e Incoming,
    call: &Call<'e>,
    epoch: &'e Arc<Epoch>,
    entry: &mut Entry<'e>,
    notes: &mut Notes<'e>,
) -> Result<Settled<N>, Fault> {
    let config = &epoch.config;
    local::check_admission(incoming, config)?;
    let options = request_headers::parse(incoming.head().headers(incoming.bytes()))?;
    let trace_id = Cow::Borrowed(options.trace_id.unwrap_or_default());
    (entry.trace_id, notes.trace_id) = (trace_id.clone(), trace_id);
    let caller = identify(incoming, epoch)?;
    let api_key = caller.api_key.and_then(|id| config.api_keys.get(id.0 as usize));
    entry.api_key = api_key.map_or(Cow::Borrowed(""), |key| Cow::Borrowed(&key.name));
    client.hold.begin()?;
    client.core.counters.metadata_ignored.add(u64::from(options.metadata_ignored));
    entry.metadata = merge_metadata(&options.metadata, api_key.map_or(&[], |key| &key.metadata));
    client.bodies = local::keep_bodies(client, incoming, config, &options);
    caller.check_forwarding(options.forward_headers.as_deref().unwrap_or_default())?;
    let total_by = incoming.accepted.after(config.timeouts.total);
    let question = Question::read(client, incoming, call, config, total_by).await?;
    entry.times.body = entry.at(client.now());
    let model = question.model()?;
    entry.requested_model = Cow::Owned(model.as_deref().unwrap_or_default().to_owned());
    let asked = Asked { config, caller: &caller, options: &options, model: model.as_deref() };
    if local::lists_models(call, &asked) {
        let listed = local::models(client, incoming, config, api_key, notes, entry);
        return Ok(Settled::Told(Box::pin(listed).await));
    }
    let core = Rc::clone(&client.core);
    let rules = TargetRules::new(&core, config, &options);
    let choice = rules.choose(asked)?;
    entry.config = match &choice.policy {
        PolicyRef::Named(id, _) => Cow::Borrowed(&config.configs[id.0 as usize].name),
        _ => Cow::Owned(choice.config_label.clone().into_owned()),
    };
    let facts = Facts {
        fixed_metadata: api_key.map_or(&[], |key| &key.metadata),
        metadata: &options.metadata,
        metadata_json: &options.metadata_json,
        params: question.object(),
        path: incoming.path(),
    };
    let policy = choice.policy();
    let (care, health) = Care::new(&core.health, config, policy, entry.seed, || client.now());
    let plan = plan_with(policy, entry.seed, &facts, &health);
    care::note(entry, policy, &health, &plan);
    entry.conditions = plan.decided().iter().map(ToString::to_string).collect();
    entry.times.planned = entry.at(client.now());
    let within = policy.total.unwrap_or(config.timeouts.total);
    let attempts = Attempts {
        incoming,
        call,
        caller: &caller,
        question: &question,
        choice: &choice,
        epoch,
        rules: &rules,
        care: &care,
        request_id: entry.request_id,
        total: Total { by: incoming.accepted.after(within), within, of_part: false },
        brought: Brought::of_headers(config, api_key, &options)?,
    };
    attempts.run(client, &plan, entry, notes).await.map(Settled::Committed)
}

/// Who calls, as the same head said before in this epoch, or by its headers.
fn identify<'e>(incoming: &'e Incoming, epoch: &Epoch) -> Result<Caller<'e>, Fault> {
    let (config, now) = (&epoch.config, incoming.accepted_unix);
    if let Some(known) = incoming.seen.caller(epoch.number) {
        known.check_expiry(config, now)?;
        return Ok(known);
    }
    let caller = key::identify(&incoming.lookup(), config, now)?;
    if let Some(known) = caller.without_credential() {
        incoming.seen.learn_caller(epoch.number, known);
    }
    Ok(caller)
}

/// Fills in what is known of a request from the start. The entry is large, and lies where it stays.
fn begin<'e, N: Net, R: Reader, W: Writer>(
    entry: &mut Entry<'e>,
    client: &Client<N, R, W>,
    incoming: &'e Incoming,
    epoch: &Epoch,
    dialect: Dialect,
) {
    let net = &client.core.net;
    let id = u128::from(net.random()) << 64 | u128::from(net.random());
    entry.request_id = RequestId(id);
    (entry.accepted, entry.accepted_unix) = (incoming.accepted, incoming.accepted_unix);
    (entry.epoch, entry.seed) = (epoch.number, net.random());
    entry.dialect = Some(dialect);
    entry.method = Cow::Borrowed(incoming.method());
    entry.path = Cow::Borrowed(incoming.path());
    entry.client_address = Some(peer::address(client, incoming, &epoch.config));
    // Few need more, and left to itself a list makes room for four.
    entry.attempts = Vec::with_capacity(1);
    entry.times.head = entry.at(incoming.head_at);
}

fn begin_notes<'e>(entry: &Entry<'e>, sharing: Sharing<'e>) -> Notes<'e> {
    Notes {
        request_id: entry.request_id,
        sharing,
        timing: Timing { accepted: entry.accepted, ..Timing::default() },
        ..Notes::default()
    }
}

/// Hands the record to the log.
async fn finish<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    entry: &mut Entry<'_>,
    epoch: &Epoch,
) {
    entry.times.flushed = entry.at(client.now());
    tend::ended(client, entry, epoch);
    if epoch.config.log.as_ref().is_some_and(|log| log.on_full == crate::config::OnFull::Wait) {
        Box::pin(local::await_log_room(client)).await;
    }
    let bodies = client.bodies.take();
    let mut log = client.core.log.borrow_mut();
    let Some(log) = log.as_mut() else { return };
    let (core, process) = (log.core(), log.process());
    let submitted = log.submit(|sequence, out| {
        entry.lend(core, process, sequence, |record| record::encode(record, out));
    });
    match (submitted, bodies) {
        (Submitted::Dropped, _) => client.core.counters.records_dropped.add(1),
        (Submitted::Queued, Some(bodies)) => bodies.submit(entry, log),
        (Submitted::Queued, None) => {}
    }
}
