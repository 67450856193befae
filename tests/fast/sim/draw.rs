//! What a random world is made of: its setup, what its targets do, what is done to it while it runs, and its clients.

use std::{cell::RefCell, net::IpAddr, pin::pin, rc::Rc, time::Duration};

use serde_json::{Value, json};
use trunkline::{
    base::units::UnixTime,
    io::{
        net::Net,
        race::{First, race},
    },
    sandbox::dice::Dice,
};

use super::{
    Gate, Setup,
    answer::Answer,
    client::{Conn, chat_body},
    millis, secs,
    target::*,
};
use crate::world::{Link, Lookup, SimNet};

pub fn setup(seed: u64, dice: &mut Dice) -> Setup {
    let mut setup = Setup::new(seed);
    setup.targets.clear();
    for name in TARGETS {
        setup.targets.push((name, *pick(dice, &["openai", "openai", "anthropic", "groq"])));
    }
    setup.named = dice.strikes(0.3);
    let policy = policy(dice, 0, "m1");
    let first_byte = dice.below(5) + 2;
    let lines = format!(
        "timeouts: {{connect: 2s, first_byte: {first_byte}s, idle: 5s, total: {}s}}",
        dice.below(40) + 5
    );
    if dice.strikes(0.2) {
        let (in_flight, bytes) = (1 + dice.below(3), *pick(dice, &[1 << 30, 100_000, 150_000]));
        setup = setup.change(move |config| {
            config.limits.in_flight = Some(in_flight as usize);
            config.limits.memory_bytes = bytes;
        });
    }
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

/// Its leaves ask for this model, by which the epoch of an attempt is known.
fn policy(dice: &mut Dice, depth: u32, model: &str) -> Value {
    let leaf = |dice: &mut Dice| {
        let name = pick(dice, &TARGETS);
        json!({"virtual_key": name, "override_params": {"model": model}})
    };
    let mut node = match if depth == 0 { dice.below(4) } else { dice.below(9) } {
        _ if depth == 3 => leaf(dice),
        1 | 2 => {
            let count = 2 + dice.below(2);
            let targets: Vec<_> = (0..count).map(|_| policy(dice, depth + 1, model)).collect();
            let codes = pick(dice, &["null", "null", "[429, 500, 503]"]);
            let mut strategy = json!({"mode": "fallback"});
            if *codes != "null" {
                strategy["on_status_codes"] = serde_json::from_str(codes).expect("a list");
            }
            json!({"strategy": strategy, "targets": targets})
        }
        3 if dice.strikes(0.4) => {
            let targets: Vec<_> = (0..2).map(|_| policy(dice, depth + 1, model)).collect();
            json!({"strategy": {"mode": "latency"}, "targets": targets})
        }
        3 => {
            let mut targets: Vec<_> = (0..2).map(|_| policy(dice, depth + 1, model)).collect();
            for target in &mut targets {
                target["weight"] = json!(1 + dice.below(3));
            }
            let mut node = json!({"strategy": {"mode": "loadbalance"}, "targets": targets});
            if dice.strikes(0.3) {
                node["affinity"] = json!({"prefix_bytes": 64});
            }
            node
        }
        _ => leaf(dice),
    };
    with_care(&mut node, dice);
    with_second_tries(&mut node, dice, model);
    if dice.strikes(0.2) {
        node["retry"] = json!({"attempts": dice.below(3), "jitter": dice.strikes(0.5)});
    }
    if dice.strikes(0.1) {
        node["request_timeout"] = json!(500 + dice.below(3000));
    }
    node
}

/// What sends a request twice, or gives a target up early.
fn with_second_tries(node: &mut Value, dice: &mut Dice, model: &str) {
    if dice.strikes(0.2) {
        let after = pick(dice, &["5ms", "300ms", "1s", "p95"]);
        node["hedge"] = json!({"after": after, "max_ratio": *pick(dice, &[0.1, 1.0, 1.0])});
    }
    if dice.strikes(0.1) {
        let target =
            json!({"virtual_key": pick(dice, &TARGETS), "override_params": {"model": model}});
        node["mirror"] = json!({"target": target, "sample": *pick(dice, &[0.5, 1.0])});
    }
    if dice.strikes(0.15) {
        let name = *pick(dice, &["first_token", "first_token", "total"]);
        node["timeouts"] = json!({name: format!("{}ms", 200 + dice.below(4000))});
    }
}

/// What heeds how targets fare.
fn with_care(node: &mut Value, dice: &mut Dice) {
    if dice.strikes(0.2) {
        node["cb_config"] = json!({"failure_threshold": 1 + dice.below(2)});
    }
    if dice.strikes(0.2) {
        node["rate_limit_aware"] = json!(true);
    }
}

/// What is done to a world while it runs.
#[derive(Debug, Default)]
pub struct Turns {
    /// The civil clock is set.
    pub clock_set: bool,
    /// When the next epoch is published, if that happens.
    pub published: Rc<RefCell<Option<UnixTime>>>,
    /// A drain begins.
    pub drained: bool,
}

/// Draws what happens besides: the clock is set, the configuration changes, the gateway is told to end.
pub fn turns(gate: &Gate, dice: &mut Dice) -> Turns {
    let mut turns = Turns::default();
    if dice.strikes(0.2) {
        turns.clock_set = true;
        for _ in 0..1 + dice.below(3) {
            // Weeks ahead, or further back than the world is old.
            let by = dice.below(4_000_000) as i64 - 2_000_000;
            later(gate, dice, move |net| net.set_clock_by(by));
        }
    }
    if dice.strikes(0.3) {
        let policy = policy(dice, 0, "m2");
        let (hub, epoch) = (gate.hub.clone(), gate.next_epoch(2, &policy));
        let published = Rc::clone(&turns.published);
        later(gate, dice, move |net| {
            *published.borrow_mut() = Some(net.unix_now());
            hub.publish(epoch);
        });
    }
    if dice.strikes(0.05) {
        turns.drained = true;
        let gateway = Rc::clone(&gate.gateway);
        later(gate, dice, move |_| gateway.drain());
    }
    turns
}

/// Does it at some time of the world's first seconds.
fn later(gate: &Gate, dice: &mut Dice, act: impl FnOnce(&SimNet) + 'static) {
    let net = gate.world.net();
    let at = net.now().after(millis(dice.below(6000)));
    gate.world.net().spawn(async move {
        net.sleep_until(at).await;
        act(&net);
    });
}

/// What a look-up of a target's name comes to, for a while or for good.
fn misname(gate: &Gate, target: &Rc<Target>, dice: &mut Dice) {
    let own = target.address.ip();
    let deaf = IpAddr::from([10, 0, 1, 1]);
    let wait = millis(*pick(dice, &[0, 50, 1500]));
    let lookup = match dice.below(12) {
        0 => Lookup::Fails(wait),
        1 => Lookup::Stalls,
        // Its other address refuses; the one that answers may come first or last.
        2 => Lookup::Gives(vec![deaf, own], wait),
        3 => Lookup::Gives(vec![own, deaf], wait),
        4 => Lookup::Gives(vec![], wait),
        _ => Lookup::Gives(vec![own], wait),
    };
    gate.look_up(&target.name, lookup);
    if dice.strikes(0.5) {
        let name = super::host(&target.name);
        let mended = Lookup::Gives(vec![own], Duration::ZERO);
        later(gate, dice, move |net| net.name(&name, mended));
    }
}

/// What the connections of a target meet, one after another.
pub fn misconduct(gate: &Gate, target: &Rc<Target>, dice: &mut Dice) {
    misname(gate, target, dice);
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
    let told: String = text_of(name).split_inclusive(' ').map(word).collect();
    let stream = format!("{STREAM_HEAD}{}{told}{}", role(), ending());
    let in_stream = dice.below(stream.len() as u64) as usize;
    match dice.below(10) {
        8 => vec![Act::Hear, Act::say(&stream[..in_stream]), wait, Act::Reset],
        9 => vec![Act::HearBytes(dice.below(600) as usize), wait, Act::Reset],
        0 => vec![],
        1 => vec![Act::Reset],
        2 => vec![Act::Hear, wait, Act::Reset],
        3 => vec![Act::Hear, Act::say(&good[..at]), Act::Reset],
        4 => vec![Act::Hear, Act::say(&good[..at]), Act::say("\0\r\n\r\n"), Act::Stall],
        5 if dice.strikes(0.5) => {
            // Nobody asked for the second one, and nobody is to get it.
            let two = good + &plain("nobody asked for this");
            vec![Act::Hear, Act::say(two), Act::Stall]
        }
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
pub struct Ask {
    pub trace: String,
    pub old: bool,
    pub bytes: Vec<u8>,
}

/// One client: what it asks on one connection, and how.
pub struct Plan {
    starts: Duration,
    pub leaves: Option<Duration>,
    pub asks: Vec<Ask>,
    pipelines: bool,
    piece: usize,
    pace: (usize, Duration),
    pub got: Rc<RefCell<Vec<Answer>>>,
}

/// Has all clients do what they do.
pub fn clients(gate: &Gate, dice: &mut Dice) -> Vec<Plan> {
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
pub fn text_of(name: &str) -> String {
    let words: Vec<String> = (1..5).map(|at| format!("{name}{at}")).collect();
    format!("{name} {}", words.join(" "))
}

fn pick<'a, T>(dice: &mut Dice, choices: &'a [T]) -> &'a T {
    &choices[dice.below(choices.len() as u64) as usize]
}

pub const TARGETS: [&str; 3] = ["a", "b", "c"];
