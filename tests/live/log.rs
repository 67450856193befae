//! The request log under load: each request once after SIGTERM, little lost after kill -9, traffic on a full disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::Value;

use crate::harness::{
    Conn, DEADLINE, Driver, Gateway, Upstream, gateway,
    http::{chat, post},
    log, on_both_drivers, pause,
    upstream::json_answer,
    wait_for,
};

on_both_drivers!(
    every_request_is_in_the_log_exactly_once,
    kill_9_loses_no_more_than_a_sync_interval,
    a_torn_tail_is_cut_and_said,
    a_full_disk_stops_no_traffic,
    a_disk_with_room_again_is_said_once,
);

/// Everything in full only where minutes do not matter.
fn is_full() -> bool {
    std::env::var_os("TRUNKLINE_FULL").is_some()
}

fn answering() -> Upstream {
    Upstream::start(|peer| {
        let answer = json_answer("{\"choices\":[]}");
        while peer.request_unrecorded().is_some() && peer.send(&answer) {}
    })
}

fn every_request_is_in_the_log_exactly_once(driver: Driver) {
    const CONNECTIONS: usize = 8;
    const PIPELINED: usize = 16;
    let total = match driver {
        _ if is_full() => 100_000,
        Driver::Uring => 30_000,
        Driver::Epoll => 8_000,
    };
    let each = total / CONNECTIONS / PIPELINED;
    let up = answering();
    let mut gateway = Gateway::new(driver).workers(2).config(gateway::simple(up.port)).start();
    let address = gateway.address;
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|client| {
            thread::spawn(move || {
                let mut conn = Conn::to(address);
                for round in 0..each {
                    let all: Vec<u8> = (0..PIPELINED)
                        .flat_map(|n| {
                            let trace = format!("x-portkey-trace-id: {client}-{round}-{n}\r\n");
                            post("/v1/chat/completions", &trace, &chat("m"))
                        })
                        .collect();
                    conn.send(&all);
                    (0..PIPELINED).for_each(|_| assert_eq!(conn.answer().status, 200));
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("all were answered"));
    gateway.stop();
    let expected = CONNECTIONS * each * PIPELINED;
    assert_eq!(gateway.count_said(&format!("{expected} records written, 0 dropped")), 1);
    let records = log::records(&gateway.log_dir());
    assert_eq!(records.len(), expected);
    let traces: BTreeSet<&str> = records.iter().filter_map(|r| r["trace"].as_str()).collect();
    assert_eq!(traces.len(), expected, "each trace id once");
    assert_no_gaps(&records);
    let (clean, said) = log::check(&gateway.log_dir());
    assert!(clean, "{said}");
}

/// Each core's numbers run from 1 without a gap.
fn assert_no_gaps(records: &[Value]) {
    let mut cores: BTreeMap<(&str, u64), Vec<u64>> = BTreeMap::new();
    for record in records {
        let place = (record["process"].as_str().unwrap_or_default(), number(record, "core"));
        cores.entry(place).or_default().push(number(record, "seq"));
    }
    for (core, mut numbers) in cores {
        numbers.sort_unstable();
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert!(numbers == expected, "{core:?} has gaps or repeats");
    }
}

fn number(record: &Value, name: &str) -> u64 {
    record[name].as_u64().unwrap_or_else(|| panic!("no {name} in {record}"))
}

/// What the clients of a load saw: when each answer was complete.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<thread::JoinHandle<Vec<(String, Instant)>>>,
    answered: Arc<AtomicU64>,
}

impl Load {
    fn start(gateway: &Gateway, round: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let clients = (0..3).map(|client| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            let address = gateway.address;
            thread::spawn(move || drive(address, &format!("{round}-{client}"), &stop, &answered))
        });
        Load { clients: clients.collect(), stop, answered }
    }

    fn end(self) -> Vec<(String, Instant)> {
        self.stop.store(true, Ordering::SeqCst);
        let all = self.clients.into_iter().map(|client| client.join().expect("a client"));
        all.flatten().collect()
    }
}

/// Asks one after the other until told to stop or cut off.
fn drive(
    address: std::net::SocketAddr,
    name: &str,
    stop: &AtomicBool,
    answered: &AtomicU64,
) -> Vec<(String, Instant)> {
    let mut seen = Vec::new();
    let mut conn = Conn::to(address);
    while !stop.load(Ordering::SeqCst) {
        let trace = format!("{name}-{}", seen.len());
        let header = format!("x-portkey-trace-id: {trace}\r\n");
        if !conn.try_send(&post("/v1/chat/completions", &header, &chat("m"))) {
            break;
        }
        match conn.try_answer() {
            Some(answer) if answer.status == 200 => {
                seen.push((trace, Instant::now()));
                answered.fetch_add(1, Ordering::SeqCst);
            }
            _ => break,
        }
    }
    seen
}

fn kill_9_loses_no_more_than_a_sync_interval(driver: Driver) {
    let up = answering();
    let rounds = match driver {
        _ if is_full() => 50,
        Driver::Uring => 10,
        Driver::Epoll => 4,
    };
    let mut dir = tempfile::tempdir().expect("a directory");
    let mut answered = Vec::new();
    for round in 0..rounds {
        let plan = Gateway::new(driver).workers(2).config(gateway::simple(up.port)).in_dir(dir);
        let gateway = plan.start();
        let load = Load::start(&gateway, round);
        let enough = load.answered.clone();
        wait_for("some traffic", || (enough.load(Ordering::SeqCst) > 200).then_some(()));
        pause(700 + 17 * round as u64);
        let killed = Instant::now();
        dir = gateway.kill();
        // What was answered long enough before the kill must be there: the interval, and a busy machine's delay.
        let safe = |at: Instant| killed.saturating_duration_since(at) > SYNC + BUSY;
        answered.extend(load.end().into_iter().filter(|(_, at)| safe(*at)));
    }
    let plan = Gateway::new(driver).workers(2).config(gateway::simple(up.port)).in_dir(dir);
    let mut gateway = plan.start();
    println!("{} answers had to be in the log", answered.len());
    gateway.stop();
    let records = log::records(&gateway.log_dir());
    let logged: BTreeSet<&str> = records.iter().filter_map(|r| r["trace"].as_str()).collect();
    assert_eq!(logged.len(), records.len(), "no record twice");
    let lost: Vec<_> = answered.iter().filter(|(trace, _)| !logged.contains(&**trace)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {:?}", lost.len(), answered.len(), lost.first());
    assert_no_gaps(&records);
    let (clean, said) = log::check(&gateway.log_dir());
    assert!(clean, "{said}");
}

fn a_torn_tail_is_cut_and_said(driver: Driver) {
    let up = answering();
    let gateway = Gateway::in_front_of(driver, up.port);
    let mut conn = gateway.connect();
    (0..3).for_each(|_| assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 200));
    gateway.records(3);
    assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 200);
    gateway.records(4);
    let dir = gateway.kill();
    // A power loss leaves what the disk had: here, all but the last bytes of the last block.
    let segment = std::fs::read_dir(dir.path().join("log")).expect("a directory");
    let mut segments: Vec<_> = segment.map(|entry| entry.expect("an entry").path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "tlog"));
    let [segment] = &segments[..] else { panic!("{segments:?}") };
    let length = std::fs::metadata(segment).expect("a file").len();
    let file = std::fs::OpenOptions::new().write(true).open(segment).expect("a file");
    file.set_len(length - 7).expect("a file");
    let (clean, said) = log::check(&dir.path().join("log"));
    assert!(!clean, "{said}");
    let mut gateway = Gateway::new(driver).config(gateway::simple(up.port)).in_dir(dir).start();
    gateway.hears("a torn tail of");
    let kept = log::records(&gateway.log_dir()).len();
    assert!((1..4).contains(&kept), "{kept} records are left");
    assert_eq!(gateway.connect().post("/v1/chat/completions", &chat("m")).status, 200);
    gateway.stop();
    assert_eq!(log::records(&gateway.log_dir()).len(), kept + 1);
    let (clean, said) = log::check(&gateway.log_dir());
    assert!(clean, "{said}");
}

fn a_full_disk_stops_no_traffic(driver: Driver) {
    let up = answering();
    // No file may grow beyond 64 KiB: what a full disk is to a file that is appended to.
    let mut gateway =
        Gateway::new(driver).config(gateway::simple(up.port)).after("ulimit -f 64").start();
    let mut conn = gateway.connect();
    let until = Instant::now() + DEADLINE;
    let mut sent = 0;
    while gateway.count_said("log") == 0 || sent < 600 {
        assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 200);
        sent += 1;
        assert!(Instant::now() < until, "nothing was said about it:\n{}", gateway.said());
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.said());
    let said = gateway.hears("records written");
    let numbers: Vec<u64> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [written, dropped] = numbers[..] else { panic!("{said}") };
    assert_eq!(written + dropped, sent, "{said}");
    assert!(dropped > 0, "{said}");
    assert_eq!(log::records(&gateway.log_dir()).len() as u64, written);
}

fn a_disk_with_room_again_is_said_once(driver: Driver) {
    let up = answering();
    // The limit that the process may raise, so that it can be raised for it.
    let mut gateway =
        Gateway::new(driver).config(gateway::simple(up.port)).after("ulimit -S -f 64").start();
    let mut conn = gateway.connect();
    let mut sent = 0_u64;
    let mut ask_until = |said: &str| {
        let until = Instant::now() + DEADLINE;
        while gateway.count_said(said) == 0 {
            assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 200);
            sent += 1;
            assert!(Instant::now() < until, "{said} was not said:\n{}", gateway.said());
        }
    };
    ask_until("trunkline: log: cannot write ");
    let pid = Pid::from_raw(gateway.pid().cast_signed()).expect("a process");
    let none = Rlimit { current: None, maximum: None };
    prlimit(Some(pid), Resource::Fsize, none).expect("the limit is raised");
    ask_until("is written again; ");
    gateway.stop();
    assert_eq!(gateway.count_said("is written again; 0 records were lost meanwhile"), 1);
    assert_eq!(gateway.count_said("is written again"), 1, "{}", gateway.said());
    assert_eq!(log::records(&gateway.log_dir()).len() as u64, sent);
}

/// The default of `log.sync`.
const SYNC: Duration = Duration::from_millis(200);
/// What a busy machine may be late.
const BUSY: Duration = Duration::from_millis(300);
