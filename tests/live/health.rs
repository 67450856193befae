//! What one core learns of a target the others know, and a reload does not forget.

use crate::harness::{
    Driver, Gateway,
    gateway::api_keys,
    http::chat,
    on_both_drivers,
    upstream::{Upstream, error_answer, json_answer},
};

on_both_drivers!(a_breaker_is_one_for_all_cores_and_survives_a_reload,);

fn config(failing: u16, sound: u16, bound: &str) -> String {
    let key = |port: u16| {
        format!("{{ provider: openai, base_url: \"http://127.0.0.1:{port}/v1\", api_key: k }}")
    };
    format!(
        "virtual_keys:\n  failing: {}\n  sound: {}\n\
         limits: {{ body: {bound} }}\n\
         configs:\n  plain:\n    \
           strategy: {{ mode: fallback, cb_config: {{ failure_threshold: 3 }} }}\n    \
           targets: [{{ virtual_key: failing }}, {{ virtual_key: sound }}]\n{}",
        key(failing),
        key(sound),
        api_keys("plain"),
    )
}

fn a_breaker_is_one_for_all_cores_and_survives_a_reload(driver: Driver) {
    let failing = Upstream::answering(error_answer(503, ""));
    let sound = Upstream::answering(json_answer("{}"));
    let text = |bound: &str| config(failing.port, sound.port, bound);
    let gateway = Gateway::new(driver).workers(2).config(text("1MiB")).start();
    let ask = || {
        let got = gateway.connect().post("/v1/chat/completions", &chat("m"));
        assert_eq!(got.status, 200);
    };
    (0..40).for_each(|_| ask());
    assert_eq!(failing.requests().len(), 3);
    let records = gateway.records(40);
    for core in 0..2 {
        assert!(records.iter().any(|record| record["core"] == core), "core {core} served none");
    }
    assert_eq!(records[39]["open_breakers"][0], "config.targets[0]");

    gateway.write_config(&text("2MiB"));
    gateway.hears("is in force");
    (0..10).for_each(|_| ask());
    assert_eq!(failing.requests().len(), 3, "the breaker is still open");
    let records = gateway.records(50);
    assert_ne!(records[49]["epoch"], records[0]["epoch"]);
}
