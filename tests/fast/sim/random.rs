//! A thousand gateways, each with a config, targets, faults, links and clients drawn from its seed. Whatever happens in
//! a world, what a user relies on holds at its end. `SIM_SEED=n` replays one, `SIM_WORLDS=n` runs more.

use std::{cell::RefCell, collections::HashMap, pin::pin, rc::Rc, time::Duration};

use serde_json::{Value, json};
use trunkline::{
    io::{
        net::Net,
        race::{First, race},
    },
    sandbox::dice::Dice,
    wire::record::Record,
};

use super::{
    Gate, Setup,
    answer::Answer,
    client::{Conn, chat_body},
    millis, secs,
    target::*,
};
use crate::world::{Link, SimNet};

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
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let mut worlds = Worlds::default();
    if let Some(seed) = number("SIM_SEED") {
        return if seed % 2 == first {
            worlds.live(seed)
        };
    }
    for seed in (first..number("SIM_WORLDS").unwrap_or(WORLDS)).step_by(2) {
        worlds.live(seed);
    }
    worlds.assert_were_interesting();
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
}

impl Worlds {
    fn live(&mut self, seed: u64) {
        let mut dice = Dice::new(seed);
        let gate = setup(seed, &mut dice).open();
        gate.world.shuffle();
        for target in gate.targets.values() {
            misconduct(target, &mut dice);
        }
        let begun = gate.now();
        let clients = clients(&gate, &mut dice);
        let took = gate.now().since(begun);
        assert!(took < secs(300), "seed {seed}: it took {took:?}");
        self.judge(&gate, &clients);
        gate.close();
        let counters = &gate.counters;
        assert_eq!((counters.bugs.get(), counters.records_dropped.get()), (0, 0), "seed {seed}");
    }

    fn judge(&mut self, gate: &Gate, clients: &[Plan]) {
        let records = gate.records();
        assert_eq!(records.len() as u64, gate.counters.exchanges.get(), "a record an exchange");
        let reused = gate.counters.upstream_reused.get();
        let mut by_trace: HashMap<&str, &Record> = HashMap::new();
        for record in &records {
            let twice = by_trace.insert(&record.trace_id, record);
            assert!(twice.is_none(), "two records of one exchange: {twice:?} {record:?}");
            judge_attempts(gate, record, reused);
        }
        for client in clients {
            self.judge_client(client, &by_trace);
        }
        self.exchanges += records.len();
        self.truncated += records.iter().filter(|record| record.truncated).count();
        self.gone += records.iter().filter(|record| record.client_gone).count();
        self.fallen_back += records.iter().filter(|record| record.attempts.len() > 1).count();
        self.reused += reused;
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
        let Worlds { exchanges, whole, errors, truncated, gone, fallen_back, reused } = *self;
        let least = exchanges / 50;
        assert!(whole > exchanges / 4 && errors > least && gone > least, "{self:?}");
        assert!(truncated > least && fallen_back > least && reused as usize > least, "{self:?}");
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

/// What the record says was tried is what the targets saw.
fn judge_attempts(gate: &Gate, record: &Record, reused: u64) {
    let marker = format!("\"{}\"", record.trace_id);
    for (name, target) in &gate.targets {
        let tries = record.attempts.iter().filter(|attempt| attempt.virtual_key == *name);
        let answered = tries.clone().filter(|attempt| !matches!(attempt.status, 0 | 507)).count();
        let seen = target.bodies().iter().filter(|body| body.contains(&marker)).count();
        assert!(answered <= seen, "{name} answered what it never saw: {record:?}");
        let most = if reused == 0 { tries.count() } else { 2 * tries.count() };
        assert!(seen <= most, "{name} saw {seen}: {record:?}");
    }
    for attempt in &record.attempts {
        let done = attempt.ended >= attempt.started && attempt.ended > 0;
        assert!(done || record.client_gone, "an attempt without an end: {record:?}");
    }
}

fn setup(seed: u64, dice: &mut Dice) -> Setup {
    let mut setup = Setup::new(seed);
    setup.targets.clear();
    for name in TARGETS {
        setup.targets.push((name, *pick(dice, &["openai", "openai", "anthropic", "groq"])));
    }
    let policy = policy(dice, 0);
    let first_byte = dice.below(5) + 2;
    let lines = format!(
        "timeouts: {{connect: 2s, first_byte: {first_byte}s, idle: 5s, total: {}s}}",
        dice.below(40) + 5
    );
    setup.policy(policy).file(&lines).links(link(dice), link(dice))
}

fn link(dice: &mut Dice) -> Link {
    Link {
        latency: millis(*pick(dice, &[0, 0, 1, 20])),
        // Room for an error that is told to a client which still sends, as every socket has.
        capacity: *pick(dice, &[2000, 5000, 65_536]),
        fragment: *pick(dice, &[None, None, Some(30), Some(1000)]),
    }
}

fn policy(dice: &mut Dice, depth: u32) -> Value {
    let mut node = match if depth == 0 { dice.below(4) } else { dice.below(9) } {
        _ if depth == 3 => json!({"virtual_key": pick(dice, &TARGETS)}),
        1 | 2 => {
            let targets: Vec<_> = (0..2 + dice.below(2)).map(|_| policy(dice, depth + 1)).collect();
            let codes = pick(dice, &["null", "null", "[429, 500, 503]"]);
            let mut strategy = json!({"mode": "fallback"});
            if *codes != "null" {
                strategy["on_status_codes"] = serde_json::from_str(codes).expect("a list");
            }
            json!({"strategy": strategy, "targets": targets})
        }
        3 if dice.strikes(0.4) => {
            let targets: Vec<_> = (0..2).map(|_| policy(dice, depth + 1)).collect();
            json!({"strategy": {"mode": "latency"}, "targets": targets})
        }
        3 => {
            let mut targets: Vec<_> = (0..2).map(|_| policy(dice, depth + 1)).collect();
            for target in &mut targets {
                target["weight"] = json!(1 + dice.below(3));
            }
            let mut node = json!({"strategy": {"mode": "loadbalance"}, "targets": targets});
            if dice.strikes(0.3) {
                node["affinity"] = json!({"prefix_bytes": 64});
            }
            node
        }
        _ => json!({"virtual_key": pick(dice, &TARGETS)}),
    };
    if dice.strikes(0.2) {
        node["cb_config"] = json!({"failure_threshold": 1 + dice.below(2)});
    }
    if dice.strikes(0.2) {
        node["rate_limit_aware"] = json!(true);
    }
    if dice.strikes(0.2) {
        node["retry"] = json!({"attempts": dice.below(3), "jitter": dice.strikes(0.5)});
    }
    if dice.strikes(0.1) {
        node["request_timeout"] = json!(500 + dice.below(3000));
    }
    node
}

/// What the connections of a target meet, one after another.
fn misconduct(target: &Rc<Target>, dice: &mut Dice) {
    let troubled = *pick(dice, &[0.0, 0.3, 0.7]);
    let conduct = |dice: &mut Dice| match dice.strikes(troubled) {
        true => fault(dice, &target.name),
        false => Meets::Script(pace(dice)),
    };
    for _ in 0..6 {
        match conduct(dice) {
            Meets::Script(script) => target.then_is(&script),
            Meets::Acts(acts) => target.first_does(acts),
        }
    }
    match dice.below(20) {
        0 => target.refuses(),
        1 => target.is_silent(),
        2 => {
            target.refuses();
            let (net, target) = (target.net.clone(), Rc::clone(target));
            let after = millis(dice.below(5000));
            target.net.clone().spawn(async move {
                net.sleep_until(net.now().after(after)).await;
                target.accept();
            });
        }
        _ => {}
    }
    target.is_text(&text_of(&target.name));
}

enum Meets {
    Script(String),
    Acts(Vec<Act>),
}

/// A good answer in its own time and form.
fn pace(dice: &mut Dice) -> String {
    let first_byte = pick(dice, &["0ms", "0ms", "10ms", "900ms"]);
    let interval = pick(dice, &["0ms", "0ms", "1ms", "300ms"]);
    let framing = pick(dice, &["auto", "auto", "chunked", "close"]);
    let keep_alive = pick(dice, &["on", "on", "on", "off", "drop"]);
    let mut script = format!(
        "first_byte={first_byte}&interval={interval}&framing={framing}&keep_alive={keep_alive}"
    );
    if dice.strikes(0.2) {
        script.push_str(&format!("&split={}", 1 + dice.below(300)));
    }
    if dice.strikes(0.1) {
        script.push_str(&format!("&comments={}&interim={}", dice.below(3), dice.below(3)));
    }
    if dice.strikes(0.1) {
        script.push_str("&slow_read=20000");
    }
    script
}

/// Something that goes wrong.
fn fault(dice: &mut Dice, name: &str) -> Meets {
    let at = dice.below(2000);
    let fault = match dice.below(10) {
        0 => format!("status={}", pick(dice, &[400, 401, 429, 500, 503, 529])),
        1 => format!("status=502&error_body={}", pick(dice, &["html", "empty"])),
        2 | 3 => format!("cut={at}"),
        4 => format!("stall={at}"),
        5 => format!("stall={at}&stall_for=3s"),
        6 => format!("error_event={}", dice.below(4)),
        7 => "first_byte=1h".to_owned(),
        8 => "malformed=http".to_owned(),
        _ => return Meets::Acts(acts(dice, name)),
    };
    Meets::Script(format!("{}&{fault}", pace(dice)))
}

/// What no server of HTTP would do.
fn acts(dice: &mut Dice, name: &str) -> Vec<Act> {
    let good = plain(&text_of(name));
    // Never so late that garbage makes up the announced length.
    let at = dice.below(good.len() as u64 - 10) as usize;
    let wait = Act::Wait(millis(dice.below(2000)));
    match dice.below(8) {
        0 => vec![],
        1 => vec![Act::Reset],
        2 => vec![Act::Hear, wait, Act::Reset],
        3 => vec![Act::Hear, Act::say(&good[..at]), Act::Reset],
        4 => vec![Act::Hear, Act::say(&good[..at]), Act::say("\0\r\n\r\n"), Act::Stall],
        5 => vec![Act::Hear, Act::say(good), wait, Act::say("HTTP/1.1 200 OK\r\n"), Act::Stall],
        6 => vec![wait, Act::say(refusal()), Act::Stall],
        _ => vec![Act::Wait(secs(1000))],
    }
}

/// Said before anything was heard.
fn refusal() -> String {
    let body = r#"{"error":{"message":"too busy","type":"busy"}}"#;
    format!(
        "HTTP/1.1 507 Busy\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One request of a client.
#[derive(Debug)]
struct Ask {
    trace: String,
    old: bool,
    bytes: Vec<u8>,
}

/// One client: what it asks on one connection, and how.
struct Plan {
    starts: Duration,
    leaves: Option<Duration>,
    asks: Vec<Ask>,
    pipelines: bool,
    piece: usize,
    pace: (usize, Duration),
    got: Rc<RefCell<Vec<Answer>>>,
}

/// Has all clients do what they do.
fn clients(gate: &Gate, dice: &mut Dice) -> Vec<Plan> {
    let plans: Vec<Plan> = (0..*pick(dice, &[1, 1, 1, 2, 2, 4])).map(|at| plan(dice, at)).collect();
    let left = Rc::new(RefCell::new(plans.len()));
    for plan in &plans {
        let (net, left) = (gate.world.net(), Rc::clone(&left));
        let work = client(net.clone(), plan);
        let leaves = plan.leaves.map(|stay| gate.now().after(plan.starts + stay));
        gate.world.net().spawn(async move {
            match leaves {
                None => work.await,
                Some(at) => match race(pin!(work), pin!(net.sleep_until(at))).await {
                    First::Left(()) | First::Right(()) => {}
                },
            }
            *left.borrow_mut() -= 1;
        });
    }
    let net = gate.world.net();
    gate.run(async move {
        while *left.borrow() > 0 {
            net.sleep_until(net.now().after(secs(1))).await;
        }
    });
    // By then each target that is to listen again does.
    gate.world.run_for(secs(5));
    plans
}

fn plan(dice: &mut Dice, at: u64) -> Plan {
    let count = *pick(dice, &[1, 1, 1, 2, 3]);
    let asks: Vec<Ask> = (0..count).map(|number| ask(dice, &format!("c{at}-{number}"))).collect();
    // Who sends more ahead than fits, and reads nothing meanwhile, waits for ever by its own fault.
    let fits = asks.iter().map(|ask| ask.bytes.len()).sum::<usize>() < 2000;
    Plan {
        starts: millis(dice.below(3000)),
        leaves: dice.strikes(0.3).then(|| millis(dice.below(4000))),
        asks,
        pipelines: fits && dice.strikes(0.4),
        piece: *pick(dice, if fits { &[7, 100, 100_000] } else { &[1000, 100_000, 100_000] }),
        pace: *pick(dice, &[(4096, Duration::ZERO), (4096, Duration::ZERO), (150, millis(5))]),
        got: Rc::default(),
    }
}

fn ask(dice: &mut Dice, trace: &str) -> Ask {
    let mut body = chat_body(trace, dice.strikes(0.6));
    let old = dice.strikes(0.1);
    let anthropic = dice.strikes(0.3);
    if dice.strikes(0.05) {
        body["user"] = json!("x".repeat(dice.below(100_000) as usize));
    }
    let (path, extra) = match anthropic {
        true => {
            body["max_tokens"] = json!(100);
            ("/v1/messages", "anthropic-version: 2023-06-01\r\n")
        }
        false => ("/v1/chat/completions", ""),
    };
    if anthropic && let Some(fields) = body.as_object_mut() {
        fields.remove("user");
    }
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.{}\r\nhost: localhost\r\nx-portkey-config: main\r\n{extra}\
         x-portkey-trace-id: {trace}\r\ncontent-type: application/json\r\n",
        if old { 0 } else { 1 }
    );
    let framed = match !old && dice.strikes(0.2) {
        true => {
            let (one, two) = body.split_at(body.len() / 2);
            let chunks = [one, two].map(|part| format!("{:x}\r\n{part}\r\n", part.len()));
            format!("transfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunks.concat())
        }
        false => format!("content-length: {}\r\n\r\n{body}", body.len()),
    };
    Ask { trace: trace.to_owned(), old, bytes: format!("{head}{framed}").into_bytes() }
}

fn client(net: SimNet, plan: &Plan) -> impl Future<Output = ()> + 'static {
    let requests: Vec<Vec<u8>> = plan.asks.iter().map(|ask| ask.bytes.clone()).collect();
    let (got, pipelines) = (Rc::clone(&plan.got), plan.pipelines);
    let (starts, piece, pace) = (plan.starts, plan.piece, plan.pace);
    async move {
        net.sleep_until(net.now().after(starts)).await;
        let mut conn = Conn::open(&net).await;
        conn.pace = pace;
        let count = requests.len();
        let groups = match pipelines {
            true => vec![(requests.concat(), count)],
            false => requests.into_iter().map(|request| (request, 1)).collect(),
        };
        for (bytes, answers) in groups {
            for piece in bytes.chunks(piece) {
                conn.send(piece).await;
            }
            for _ in 0..answers {
                let answer = conn.answer().await;
                got.borrow_mut().push(answer);
            }
        }
    }
}

/// What a target says: its name, and words of which no two are the same.
fn text_of(name: &str) -> String {
    let words: Vec<String> = (1..5).map(|at| format!("{name}{at}")).collect();
    format!("{name} {}", words.join(" "))
}

fn pick<'a, T>(dice: &mut Dice, choices: &'a [T]) -> &'a T {
    &choices[dice.below(choices.len() as u64) as usize]
}

const TARGETS: [&str; 3] = ["a", "b", "c"];
const WORLDS: u64 = 1000;
