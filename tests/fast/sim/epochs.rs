//! The configuration changes while requests are under way: each runs on one epoch from its first try to its last.

use serde_json::json;

use super::{Gate, Setup, client, client::Conn, millis};

fn policy(target: &str, model: &str) -> serde_json::Value {
    json!({"virtual_key": target, "override_params": {"model": model}})
}

fn models(gate: &Gate, target: &str) -> Vec<String> {
    let body = |text: String| serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    let bodies = gate.target(target).bodies().into_iter().map(body);
    bodies.map(|body| body["model"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_retry_after_the_change_is_still_of_the_old_one() {
    let mut old = policy("a", "old");
    old["retry"] = json!({"attempts": 2});
    let gate = Setup::new(1).policy(old).open();
    gate.target("a").first_is("status=503");
    let mut conn = gate.begin(&client::chat("hi", false), millis(500));
    gate.hub.publish(gate.next_epoch(2, &policy("b", "new")));
    let answer = gate.run(async move { conn.answer().await });
    assert_eq!(answer.served_by(), "a");
    assert_eq!(models(&gate, "a"), ["old", "old"]);
    assert_eq!(gate.record().epoch, 1);
    assert_eq!(gate.ask("hi").served_by(), "b");
    assert_eq!(models(&gate, "b"), ["new"]);
    assert_eq!(gate.record().epoch, 2);
    gate.close();
}

#[test]
fn a_stream_goes_on_and_the_next_request_of_its_connection_is_of_the_new_one() {
    let gate = Setup::new(1).policy(policy("a", "old")).open();
    gate.target("a").is("chunks=10&interval=1s&text=a b");
    let mut conn = gate.begin(&client::chat("hi", true), millis(2500));
    gate.hub.publish(gate.next_epoch(2, &policy("b", "new")));
    let (first, second) = gate.run(async move {
        let first = conn.answer().await;
        conn.send(&client::chat("hi", false)).await;
        (first, conn.answer().await)
    });
    assert!(first.is_whole() && first.served_by() == "a", "{first:?}");
    assert_eq!(second.served_by(), "b");
    let epochs: Vec<_> = gate.records().iter().map(|record| record.epoch).collect();
    assert_eq!(epochs, [1, 2]);
    gate.close();
}

#[test]
fn a_request_whose_body_is_still_to_come_is_of_the_epoch_of_its_head() {
    let gate = Setup::new(1).policy(policy("a", "old")).open();
    let request = client::chat("hi", false);
    let (start, end) = request.split_at(request.len() - 10);
    let mut conn = gate.begin(start, millis(500));
    gate.hub.publish(gate.next_epoch(2, &policy("b", "new")));
    let end = end.to_vec();
    let answer = gate.run(async move {
        conn.send(&end).await;
        conn.answer().await
    });
    assert_eq!(answer.served_by(), "a");
    assert_eq!(gate.record().epoch, 1);
    gate.close();
}

#[test]
fn the_old_one_is_let_go_with_its_last_exchange() {
    let gate = Setup::new(1).policy(policy("a", "old")).open();
    gate.target("a").is("interval=1s");
    let old = std::sync::Arc::downgrade(&gate.hub.epoch());
    let mut conn = gate.begin(&client::chat("hi", true), millis(1500));
    gate.hub.publish(gate.next_epoch(2, &policy("b", "new")));
    assert_eq!(gate.ask("hi").served_by(), "b");
    assert!(old.upgrade().is_some(), "a stream still runs on it");
    gate.run(async move { conn.answer().await });
    assert!(old.upgrade().is_none(), "nothing runs on it");
    gate.close();
}

#[test]
fn a_connection_pooled_under_the_old_one_serves_the_new_one() {
    let gate = Setup::new(1).policy(policy("a", "old")).open();
    gate.ask("hi");
    gate.hub.publish(gate.next_epoch(2, &policy("a", "new")));
    let net = gate.world.net();
    gate.run(async move {
        let mut conn = Conn::open(&net).await;
        conn.send(&client::chat("hi", false)).await;
        conn.answer().await
    });
    assert_eq!(models(&gate, "a"), ["old", "new"]);
    assert_eq!(gate.target("a").connections(), 1);
    gate.close();
}
