//! A thousand gateways, each with a config, targets, faults, links and clients drawn from its seed. Whatever happens in
//! a world, what a user relies on holds at its end. `SIM_SEED=n` replays one; `tests/soak/run` lives through more.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use trunkline::{
    base::units::UnixTime,
    sandbox::dice::Dice,
    wire::record::{AttemptRecord, Record},
};

use super::{Gate, answer::Answer, draw::*, secs};

/// In two tests, for two cores.
#[test]
fn what_users_rely_on_holds_in_even_worlds() {
    live_all(0);
}

#[test]
fn what_users_rely_on_holds_in_odd_worlds() {
    live_all(1);
}

fn live_all(first: u64) {
    let mut worlds = Worlds::default();
    if let Some(seed) = number("SIM_SEED") {
        if seed % 2 == first {
            worlds.live(seed);
        }
        return;
    }
    for seed in (first..WORLDS).step_by(2) {
        worlds.live(seed);
    }
    worlds.assert_were_interesting();
}

/// `SIM_WORLDS` of them from the seed `SIM_FROM` on, on all cores. Each that fails is named; the others go on.
#[test]
#[ignore = "takes minutes: tests/soak/run"]
fn what_users_rely_on_holds_in_more_worlds() {
    let from = number("SIM_FROM").unwrap_or(WORLDS);
    let (next, failed) = (AtomicU64::new(from), AtomicUsize::new(0));
    let end = from + number("SIM_WORLDS").unwrap_or(MORE_WORLDS);
    let live = || {
        let mut worlds = Worlds::default();
        while failed.load(Ordering::Relaxed) < FAILED_MAX {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                break;
            }
            if catch_unwind(AssertUnwindSafe(|| worlds.live(seed))).is_err() {
                failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("failed: SIM_SEED={seed} cargo test --test fast sim::random");
            }
        }
        eprintln!("{worlds:?}");
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(live);
        }
    });
    let (failed, lived) = (failed.into_inner(), next.into_inner().min(end) - from);
    assert_eq!(failed, 0, "{failed} of {lived} worlds failed");
}

#[test]
fn a_world_is_the_same_for_a_seed() {
    for seed in 0..20 {
        let [first, second] = [(); 2].map(|()| {
            let (gate, clients, _) = run(seed);
            let answers: Vec<_> = clients.iter().map(|client| client.got.take()).collect();
            format!("{answers:?} {:?}", gate.records())
        });
        assert_eq!(first, second, "seed {seed}");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A world of this seed, run to its end.
fn run(seed: u64) -> (Gate, Vec<Plan>, Turns) {
    let mut dice = Dice::new(seed);
    let gate = setup(seed, &mut dice).open();
    gate.world.shuffle();
    for target in gate.targets.values() {
        misconduct(&gate, target, &mut dice);
    }
    let turns = turns(&gate, &mut dice);
    let begun = gate.now();
    let clients = clients(&gate, &mut dice);
    let took = gate.now().since(begun);
    assert!(took < secs(300), "seed {seed}: it took {took:?}");
    (gate, clients, turns)
}

/// What came of all worlds, so that a change that makes them all dull is noticed.
#[derive(Debug, Default)]
struct Worlds {
    exchanges: usize,
    whole: usize,
    errors: usize,
    truncated: usize,
    gone: usize,
    fallen_back: usize,
    reused: u64,
    second_epoch: usize,
    refused: u64,
    hedged: usize,
    hedges_won: usize,
    mirrored: usize,
    late_tokens: usize,
}

impl Worlds {
    fn live(&mut self, seed: u64) {
        let (gate, clients, turns) = run(seed);
        self.judge(&gate, &clients, &turns);
        gate.close();
        let counters = &gate.counters;
        assert_eq!((counters.bugs.get(), counters.records_dropped.get()), (0, 0), "seed {seed}");
    }

    fn judge(&mut self, gate: &Gate, clients: &[Plan], turns: &Turns) {
        let all = gate.records();
        let (copies, records): (Vec<Record>, Vec<Record>) =
            all.iter().cloned().partition(|record| record.mirror);
        assert_eq!(records.len() as u64, gate.counters.exchanges.get(), "a record an exchange");
        let reused = gate.counters.upstream_reused.get();
        let mut by_trace: HashMap<&str, &Record> = HashMap::new();
        for record in &records {
            let twice = by_trace.insert(&record.trace_id, record);
            assert!(twice.is_none(), "two records of one exchange: {twice:?} {record:?}");
            let copy = copies.iter().filter(|copy| copy.trace_id == record.trace_id);
            judge_attempts(gate, record, copy, reused);
            judge_times(record);
            judge_hedge(record);
            judge_epoch(record, turns);
        }
        let sequence: Vec<_> = all.iter().map(|record| record.sequence).collect();
        assert!(sequence.iter().copied().eq(1..=all.len() as u64), "gaps: {sequence:?}");
        for copy in &copies {
            let alone = copy.attempts.len() == 1 && copy.client_bytes_out == 0;
            assert!(alone && by_trace.contains_key(&*copy.trace_id), "{copy:?}");
        }
        for client in clients {
            self.judge_client(client, &by_trace);
        }
        self.exchanges += records.len();
        self.truncated += records.iter().filter(|record| record.truncated).count();
        self.gone += records.iter().filter(|record| record.client_gone).count();
        self.fallen_back += records.iter().filter(|record| record.attempts.len() > 1).count();
        self.reused += reused;
        self.mirrored += copies.len();
        self.hedged += records.iter().filter(|record| record.hedged).count();
        let won = |record: &&Record| record.attempts.last().is_some_and(|a| a.role == "hedge");
        self.hedges_won += records.iter().filter(won).count();
        let attempts = records.iter().flat_map(|record| &record.attempts);
        self.late_tokens += attempts.filter(|a| a.left == "timeout_first_token").count();
        self.second_epoch += records.iter().filter(|record| record.epoch == 2).count();
        let counters = &gate.counters;
        self.refused += counters.refused_in_flight.get() + counters.refused_memory.get();
        let ended: u64 = counters.ended.statuses.iter().map(|count| count.get()).sum();
        assert_eq!(ended, records.len() as u64, "each exchange ends once");
    }

    fn judge_client(&mut self, client: &Plan, records: &HashMap<&str, &Record>) {
        let got = client.got.borrow();
        let mut ended = false;
        for (asked, answer) in client.asks.iter().zip(&*got) {
            let record = records.get(asked.trace.as_str());
            let told = || tell(asked, answer, record);
            if answer.status == 0 {
                assert!(ended || record.is_none_or(|r| r.client_gone), "no answer: {}", told());
                ended = true;
                continue;
            }
            let record = record.unwrap_or_else(|| panic!("no record: {}", told()));
            assert_eq!(record.status, answer.status, "{}", told());
            judge_answer(asked, answer, record);
            self.whole += usize::from(answer.is_whole());
            self.errors += usize::from(!answer.is_whole());
            ended = !answer.complete || answer.header("connection") == Some("close");
        }
        let answered = got.len();
        assert!(client.leaves.is_some() || answered == client.asks.len(), "{answered} answers");
    }

    fn assert_were_interesting(&self) {
        let Worlds { exchanges, whole, errors, truncated, gone, .. } = *self;
        let Worlds { fallen_back, reused, second_epoch, refused, .. } = *self;
        let least = exchanges / 50;
        assert!(whole > exchanges / 4 && errors > least && gone > least, "{self:?}");
        assert!(refused > 5, "{self:?}");
        assert!(truncated > least && fallen_back > least && reused as usize > least, "{self:?}");
        assert!(second_epoch > least, "{self:?}");
        let Worlds { hedged, hedges_won, mirrored, late_tokens, .. } = *self;
        assert!(hedged > least && hedges_won > 10 && mirrored > least, "{self:?}");
        assert!(late_tokens > 3, "{self:?}");
    }
}

/// Whole, or told that it is not; never more than one target's words, never a word twice.
fn judge_answer(asked: &Ask, answer: &Answer, record: &Record) {
    let told = || tell(asked, answer, record);
    let whole = answer.is_whole();
    // The end of an HTTP/1.0 stream is the end of its connection: the error event alone tells.
    let old_error = asked.old && answer.is_stream() && answer.error().is_some();
    assert_ne!(whole, answer.is_error() || old_error, "{}", told());
    let said = answer.said();
    let text = said.split(' ').next().map(text_of).unwrap_or_default();
    if whole {
        assert_eq!(said, text, "{}", told());
        assert!(!record.truncated && !record.client_gone, "{}", told());
        assert_eq!(record.client_bytes_out, answer.bytes as u64, "{}", told());
        assert_eq!(record.virtual_key, answer.served_by(), "another target's words: {}", told());
    } else {
        assert!(said.is_empty() || TARGETS.iter().any(|name| text_of(name).starts_with(&said)));
        assert!(!record.error_kind.is_empty() || answer.status != 200, "{}", told());
        assert_eq!(record.truncated, answer.status == 200, "{}", told());
    }
    assert!(!record.client_gone, "it stayed: {}", told());
}

fn tell(asked: &Ask, answer: &Answer, record: impl std::fmt::Debug) -> String {
    let Answer { status, headers, complete, took, .. } = answer;
    let asked = String::from_utf8_lossy(&asked.bytes[..asked.bytes.len().min(400)]);
    let text = answer.text();
    format!("{asked}\n\n{status} {headers:?} {complete} {took:?}\n{text}\n\n{record:?}")
}

/// What the records of an exchange and of its copy say was tried is what the targets saw.
fn judge_attempts<'r>(
    gate: &Gate,
    record: &'r Record,
    copy: impl Iterator<Item = &'r Record> + Clone,
    reused: u64,
) {
    let marker = format!("\"{}\"", record.trace_id);
    // A copy that is under way has no record yet.
    let unknown = usize::from(gate.counters.mirrors.get() > 0 && copy.clone().count() == 0);
    for (name, target) in &gate.targets {
        let copied = copy.clone().flat_map(|copy| &copy.attempts);
        let tries = record.attempts.iter().chain(copied);
        let tries = tries.filter(|attempt| attempt.virtual_key == *name);
        let answered = tries.clone().filter(|attempt| !matches!(attempt.status, 0 | 507)).count();
        let seen = target.bodies().iter().filter(|body| body.contains(&marker)).count();
        assert!(answered <= seen, "{name} answered what it never saw: {record:?}");
        let most = tries.count() + unknown;
        let most = if reused == 0 { most } else { 2 * most };
        assert!(seen <= most, "{name} saw {seen}: {record:?}");
    }
    for attempt in &record.attempts {
        let done = attempt.ended >= attempt.started && attempt.ended > 0;
        assert!(done || record.client_gone, "an attempt without an end: {record:?}");
    }
}

/// Stage after stage and try after try, whatever the civil clock does meanwhile.
fn judge_times(record: &Record) {
    let times = &record.times;
    let reached = [times.head, times.body, times.planned].into_iter().filter(|at| *at > 0);
    assert!(reached.is_sorted(), "out of order: {record:?}");
    let later = [times.connected, times.sent, times.first_byte, times.first_token, times.last_byte];
    assert!(later.iter().all(|at| *at <= times.flushed), "after the end: {record:?}");
    for pair in record.attempts.windows(2).filter(|_| !record.hedged) {
        assert!(pair[0].ended <= pair[1].started, "two tries at once: {record:?}");
    }
    for attempt in &record.attempts {
        assert!(times.planned <= attempt.started && attempt.ended <= times.flushed, "{record:?}");
    }
}

/// At most one second try, at most two tries at once, and a loser that is marked as one.
fn judge_hedge(record: &Record) {
    let sent = |a: &&AttemptRecord| a.role == "hedge" && a.ended != a.started;
    let hedges = record.attempts.iter().filter(sent).count();
    assert!(hedges <= usize::from(record.hedged), "{record:?}");
    let lost = record.attempts.iter().filter(|a| a.left == "hedge_lost").count();
    assert!(lost <= usize::from(record.hedged), "{record:?}");
    for one in &record.attempts {
        let beside =
            |other: &&AttemptRecord| other.started < one.ended && one.started < other.ended;
        let at_once = record.attempts.iter().filter(beside).count();
        assert!(at_once <= 1 + usize::from(record.hedged) || one.role == "hedge", "{record:?}");
    }
}

/// An exchange runs on one epoch from its first try to its last: the one in force when it began.
fn judge_epoch(record: &Record, turns: &Turns) {
    let model = format!("m{}", record.epoch);
    let strays = record.attempts.iter().any(|attempt| attempt.model != model);
    assert!(!strays, "tries of two epochs: {record:?}");
    // A head that is there at once is noted as one nanosecond: 0 would say that it never was.
    let head_nanos = if record.times.head == 1 { 0 } else { record.times.head };
    let began = UnixTime { nanos: record.accepted_unix_nanos + head_nanos };
    match *turns.published.borrow() {
        _ if turns.clock_set => {}
        Some(at) if began > at => assert_eq!(record.epoch, 2, "{record:?}"),
        Some(at) if began == at => {}
        _ => assert_eq!(record.epoch, 1, "{record:?}"),
    }
}

const WORLDS: u64 = 1000;
/// In the soak run, unless told otherwise.
const MORE_WORLDS: u64 = 100_000;
/// More failing worlds than that tell nothing new.
const FAILED_MAX: usize = 20;
