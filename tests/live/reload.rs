//! New configurations under load: no request fails, each record names a published epoch, mistakes are said.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::harness::{
    Conn, Driver, Gateway, KEY, Upstream, gateway,
    http::{chat, post},
    log, on_both_drivers,
    upstream::json_answer,
    wait_for,
};

on_both_drivers!(
    a_hundred_reloads_under_load_fail_no_request,
    sighup_reloads,
    what_needs_a_restart_is_named,
    a_running_exchange_finishes_on_its_epoch,
);

fn answering() -> Upstream {
    Upstream::start(|peer| {
        let answer = json_answer("{\"choices\":[]}");
        while peer.request_unrecorded().is_some() && peer.send(&answer) {}
    })
}

/// A configuration that differs from others of its kind by a model that nobody asks for.
fn numbered(port: u16, number: usize) -> String {
    let plain = "plain: { virtual_key: up }";
    let other =
        format!("{plain}\n  other: {{ virtual_key: up, override_params: {{ model: m{number} }} }}");
    gateway::simple(port).replace(plain, &other)
}

fn a_hundred_reloads_under_load_fail_no_request(driver: Driver) {
    let up = answering();
    let mut gateway = Gateway::new(driver).workers(2).config(numbered(up.port, 0)).start();
    let stop = Arc::new(AtomicBool::new(false));
    let address = gateway.address;
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut conn = Conn::to(address);
                let mut answered = 0_usize;
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 200);
                    answered += 1;
                    // On a crowded machine a hundred reloads take a minute: not millions of records with it.
                    thread::park_timeout(Duration::from_millis(1));
                }
                answered
            })
        })
        .collect();
    for number in 1..=100 {
        let valid = number % 2 == 1;
        let text = numbered(up.port, number);
        let text = if valid { text } else { text.replace("strategy", "x") + "no_such_key: 1\n" };
        gateway.write_config(&text);
        // The signal spares the test the wait for the next look at the file.
        gateway.signal(Signal::HUP);
        let (said, times) =
            if valid { ("is in force", number / 2 + 1) } else { ("stays in force", number / 2) };
        wait_for("the reload", || (gateway.count_said(said) >= times).then_some(()));
    }
    stop.store(true, Ordering::SeqCst);
    let answered: usize = clients.into_iter().map(|c| c.join().expect("no failed request")).sum();
    gateway.stop();
    let said = gateway.said();
    assert!(said.contains("no_such_key"), "{said}");
    let published: BTreeSet<u64> = said
        .lines()
        .filter(|line| line.contains("is in force") || line.contains("listening on"))
        .filter_map(|line| line.split("epoch ").nth(1)?.split(' ').next()?.parse().ok())
        .collect();
    assert_eq!(published.len(), 51, "{said}");
    let records = log::records(&gateway.log_dir());
    assert_eq!(records.len(), answered);
    let used: BTreeSet<u64> =
        records.iter().filter_map(|record| record["epoch"].as_u64()).collect();
    assert!(used.is_subset(&published), "{used:?}\n{published:?}");
    assert!(used.len() > 1, "one epoch only: {used:?}");
    for epoch in &published {
        let copy = gateway.log_dir().join(format!("epochs/{epoch}.json"));
        let text = std::fs::read_to_string(copy).expect("the epoch's copy");
        assert!(!text.contains(gateway::CREDENTIAL), "{text}");
    }
}

fn sighup_reloads(driver: Driver) {
    let one = Upstream::answering(json_answer("{\"n\":1}"));
    let two = Upstream::answering(json_answer("{\"n\":2}"));
    let gateway = Gateway::in_front_of(driver, one.port);
    let mut conn = gateway.connect();
    assert_eq!(conn.post("/v1/chat/completions", &chat("m")).text(), "{\"n\":1}");
    std::fs::write(gateway.dir().join("trunkline.yaml"), gateway::simple(two.port))
        .expect("a file");
    gateway.signal(Signal::HUP);
    gateway.hears("is in force");
    let again = conn.post("/v1/chat/completions", &chat("m"));
    assert_eq!(again.text(), "{\"n\":2}", "the same connection is on the new epoch");
}

fn what_needs_a_restart_is_named(driver: Driver) {
    let up = answering();
    let at = |port: u16| format!("listen: 127.0.0.1:{port}\n{}", gateway::simple(up.port));
    let gateway = Gateway::new(driver).without_flags().config(at(0)).start();
    gateway.write_config(&at(9));
    let said = gateway.hears("need a restart to change");
    assert!(said.contains("listen"), "{said}");
    gateway.hears("is in force");
    let mut conn = gateway.connect();
    assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 200);
}

fn a_running_exchange_finishes_on_its_epoch(driver: Driver) {
    let gate = crate::streams::Gate::default();
    let inner = gate.clone();
    let up = Upstream::start(move |peer| {
        while peer.request().is_some() {
            inner.pass();
            peer.send(&json_answer("{\"choices\":[]}"));
        }
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    let mut conn = gateway.connect();
    conn.send(&post("/v1/chat/completions", "", &chat("m")));
    up.hears(1);
    // The key that it came with is gone from the new configuration, and so is its target.
    let hash = hex::encode(trunkline::policy::api_key::hash(KEY));
    gateway.write_config(&gateway::simple(1).replace(&hash, &"0".repeat(64)));
    gateway.hears("is in force");
    gate.open();
    assert_eq!(conn.answer().status, 200);
    assert_eq!(conn.post("/v1/chat/completions", &chat("m")).status, 401);
}
