//! Requests that go out twice: a hedge beside a slow target, whose loser is let go, and a copy for a mirror.

use crate::harness::{
    Driver, End, Gateway, Upstream,
    http::{chat, chat_stream, post},
    on_both_drivers,
    upstream::{STREAM_HEAD, chunk, delta, json_answer},
};

on_both_drivers!(the_loser_of_a_hedge_is_let_go, a_mirror_gets_a_copy_and_delays_nobody);

/// Two virtual keys for two upstreams, and this config.
fn config(one: &Upstream, two: &Upstream, config: &str) -> String {
    let key = |name: &str, port: u16| {
        format!(
            "  {name}: {{ provider: openai, api_key: k, base_url: \"http://127.0.0.1:{port}/v1\" }}\n"
        )
    };
    let keys = key("one", one.port) + &key("two", two.port);
    format!("virtual_keys:\n{keys}configs:\n  twice: {config}\nauth: open\n")
}

fn request(body: &str) -> Vec<u8> {
    post("/v1/chat/completions", "x-portkey-config: twice\r\n", body)
}

fn the_loser_of_a_hedge_is_let_go(driver: Driver) {
    // It has sent its head and no content: until then another may win.
    let slow = Upstream::start(|peer| {
        peer.request();
        peer.send(STREAM_HEAD);
        peer.wait_for_close();
    });
    let fast = Upstream::start(|peer| {
        peer.request();
        let words = chunk(&(delta("two") + "data: [DONE]\n\n"));
        peer.send(&[STREAM_HEAD, &words, b"0\r\n\r\n"].concat());
        peer.wait_for_close();
    });
    let hedged = "{ strategy: { mode: fallback }, hedge: { after: 100ms, max_ratio: 1 }, \
                  targets: [ { virtual_key: one }, { virtual_key: two } ] }";
    let gateway = Gateway::new(driver).config(config(&slow, &fast, hedged)).start();
    let got = gateway.connect().ask(&request(&chat_stream("m")));
    assert_eq!((got.status, got.end), (200, End::Chunked), "{}", got.text());
    assert!(got.text().contains("two"), "{}", got.text());
    slow.sees_close(0);
    let record = gateway.record();
    assert_eq!(record["hedged"], true);
    assert_eq!(record["attempts"][0]["left"], "hedge_lost");
    assert_eq!(record["attempts"][0]["status"], 200);
    assert_eq!(record["attempts"][1]["role"], "hedge");
    assert_eq!(record["virtual_key"], "two");
}

fn a_mirror_gets_a_copy_and_delays_nobody(driver: Driver) {
    let answers = Upstream::answering(json_answer(r#"{"choices":[],"model":"m"}"#));
    let stalls = Upstream::start(|peer| {
        peer.request();
        peer.wait_for_close();
    });
    let mirrored = "{ virtual_key: one, mirror: { target: { virtual_key: two } } }";
    let mut gateway = Gateway::new(driver).config(config(&answers, &stalls, mirrored)).start();
    let got = gateway.connect().ask(&request(&chat("m")));
    assert_eq!(got.status, 200, "{}", got.text());
    stalls.hears(1);
    assert_eq!(stalls.last().text(), answers.last().text());
    assert_eq!(gateway.record()["mirror"], false);
    // On its way out the gateway waits for no copy, and its record is not lost.
    gateway.stop();
    stalls.sees_close(0);
    let records = gateway.records(2);
    assert_eq!((&records[1]["mirror"], &records[1]["error"]), (&true.into(), &"overloaded".into()));
    assert_eq!(records[1]["trace"], records[0]["id"]);
}
