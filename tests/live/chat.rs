//! The main job: plain and streamed calls through a virtual key, byte for byte both ways.

use crate::{
    harness::{
        Conn, Driver, End, Gateway, KEY, Upstream,
        gateway::CREDENTIAL,
        http,
        http::{bare, chat, chat_stream, post},
        on_both_drivers, pause, sandbox,
        upstream::{self, DONE, FINISH, STREAM_HEAD, USAGE, chunk, delta, json_answer},
    },
    streams::Gate,
};

on_both_drivers!(
    plain_calls_pass_byte_for_byte,
    streams_pass_byte_for_byte,
    only_the_overridden_field_changes,
    answers_of_every_framing_arrive_whole,
    answers_without_a_body_do_not_desynchronise,
    an_answer_before_the_body_is_read_arrives,
    pipelined_requests_are_answered_in_order,
    a_client_that_waits_for_100_is_invited,
    upstream_connections_are_reused,
    a_stale_pooled_connection_is_replaced_once,
    unsolicited_bytes_poison_nobody,
    a_second_answer_right_behind_the_first_poisons_nobody,
);

/// White space, unknown fields, numbers beyond any float, escapes, other scripts: all of it is the caller's.
const ODD_BODY: &str = "{ \"model\" :\t\"m\",\r\n\"messages\":[ {\"role\":\"user\",\"content\":\"h\\u00e9 \u{1f600} \\/ \\\"\"} ] ,\
\"seed\": 123456789012345678901234567890, \"x_unknown\": {\"a\":[1.0e400, -0.0, 1E+2,null]}, \"temperature\":0.10 } \n";

const ODD_ANSWER: &str = "{\"id\" : \"chatcmpl-1\",\n \"x_new\":[1.50, 1e999],\"choices\":[ ],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\r\n";

fn plain_calls_pass_byte_for_byte(driver: Driver) {
    let mut answer = format!(
        "HTTP/1.1 200 Quite OK\r\nContent-Type: application/json; charset=utf-8\r\nX-Odd:   two  words \r\n\
         set-cookie: a=1\r\nset-cookie: b=2\r\nx-ratelimit-remaining-requests: 99\r\nx-portkey-forged: 1\r\n\
         x-trunkline-forged: 1\r\nconnection: x-hop\r\nx-hop: 1\r\ncontent-length: {}\r\n\r\n",
        ODD_ANSWER.len()
    );
    answer.push_str(ODD_ANSWER);
    let up = Upstream::answering(answer);
    let gateway = Gateway::in_front_of(driver, up.port);
    let got = gateway.connect().post("/v1/chat/completions", ODD_BODY);
    assert_eq!(got.status, 200);
    assert_eq!(got.text(), ODD_ANSWER);
    assert_eq!(got.header("x-odd"), Some("two  words"));
    assert_eq!(got.headers("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(got.header("x-ratelimit-remaining-requests"), Some("99"));
    for gone in ["x-portkey-forged", "x-trunkline-forged", "x-hop"] {
        assert_eq!(got.header(gone), None, "{gone}");
    }
    assert_eq!(got.header("x-portkey-provider"), Some("openai"));
    for made in ["x-portkey-trace-id", "x-trunkline-request-id", "server-timing"] {
        assert!(got.header(made).is_some(), "{made} in {}", got.head);
    }
    let heard = up.last();
    assert_eq!(heard.text(), ODD_BODY);
    assert_eq!(heard.first_line(), "POST /v1/chat/completions HTTP/1.1");
    assert_eq!(heard.header("authorization"), Some(&*format!("Bearer {CREDENTIAL}")));
    assert!(!heard.head.contains(KEY), "{}", heard.head);
    let record = gateway.record();
    assert_eq!(record["status"], 200);
    assert_eq!(record["usage"]["input"], 3);
    assert_eq!(record["usage"]["output"], 4);
    assert_eq!(record["virtual_key"], "up");
    assert_eq!(record["api_key"], "tests");
}

fn streams_pass_byte_for_byte(driver: Driver) {
    // A comment, CRLF line ends, an unknown event, fields in odd order: events are the provider's.
    let odd = ": keep-alive\n\nevent: x\r\ndata: {\"choices\":[]}\r\n\r\n";
    let events = [odd, &delta("Hel"), &delta("lo"), FINISH, USAGE, DONE];
    let body: Vec<u8> = events.iter().flat_map(|event| chunk(event)).collect();
    let up = Upstream::answering([STREAM_HEAD, &body, b"0\r\n\r\n"].concat());
    let gateway = Gateway::in_front_of(driver, up.port);
    let asks =
        r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#;
    let got = gateway.connect().post("/v1/chat/completions", asks);
    assert_eq!((got.status, got.end), (200, End::Chunked));
    assert_eq!(got.text(), events.concat());
    assert_eq!(up.last().text(), asks);
    let record = gateway.record();
    assert_eq!(record["stream"], true);
    assert_eq!(record["truncated"], false);
    assert_eq!(record["usage"]["output"], 7);
}

fn only_the_overridden_field_changes(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let gateway = Gateway::in_front_of(driver, up.port);
    let config = r#"x-portkey-config: {"virtual_key":"up","override_params":{"temperature":0.75}}"#;
    let ask = post("/v1/chat/completions", &format!("{config}\r\n"), ODD_BODY);
    assert_eq!(gateway.connect().ask(&ask).status, 200);
    assert_eq!(up.last().text(), ODD_BODY.replace("0.10", "0.75"));
}

fn answers_of_every_framing_arrive_whole(driver: Driver) {
    let json = "content-type: application/json\r\n";
    let cases = [
        // Chunk extensions and trailers are of the hop; what they frame is not.
        format!(
            "HTTP/1.1 200 OK\r\n{json}transfer-encoding: chunked\r\n\r\n\
             4;a=b;c=\"d\"\r\n{{\"a\"\r\n3\r\n:1}}\r\n0\r\nx-trailer: 1\r\n\r\n"
        ),
        // Interim answers come before the real one and are not it.
        format!(
            "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
             HTTP/1.1 200 OK\r\n{json}content-length: 7\r\n\r\n{{\"a\":1}}"
        ),
        // The end of the connection is the end of the answer.
        format!("HTTP/1.1 200 OK\r\n{json}connection: close\r\n\r\n{{\"a\":1}}"),
        format!("HTTP/1.0 200 OK\r\n{json}\r\n{{\"a\":1}}"),
    ];
    for case in cases {
        let closes = !case.contains("chunked") && !case.contains("content-length");
        let bytes = case.clone();
        let up = Upstream::start(move |peer| {
            while peer.request().is_some() && peer.send(bytes.as_bytes()) && !closes {}
        });
        let gateway = Gateway::in_front_of(driver, up.port);
        let mut conn = gateway.connect();
        for _ in 0..3 {
            let got = conn.post("/v1/chat/completions", &chat("m"));
            assert_eq!((got.status, got.text()), (200, "{\"a\":1}"), "{case}");
            assert!(matches!(got.end, End::Length | End::Chunked), "{case}: {:?}", got.end);
        }
        assert_eq!(gateway.records(3)[2]["truncated"], false);
    }
}

fn answers_without_a_body_do_not_desynchronise(driver: Driver) {
    let up = Upstream::start(|peer| {
        while let Some(heard) = peer.request() {
            let answer: &[u8] = match heard.first_line() {
                line if line.contains("/head") => {
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 99\r\n\r\n"
                }
                line if line.contains("/204") => b"HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n",
                line if line.contains("/304") => {
                    b"HTTP/1.1 304 Not Modified\r\netag: \"e\"\r\ncontent-length: 12\r\n\r\n"
                }
                _ => b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlast",
            };
            peer.send(answer);
        }
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    let mut conn = gateway.connect();
    let route = "x-portkey-virtual-key: up\r\n";
    conn.answers_have_no_body = true;
    let head = conn.ask(&bare("HEAD", "/v1/files/head", route));
    assert_eq!((head.status, head.header("content-length")), (200, Some("99")));
    assert_eq!(conn.ask(&bare("DELETE", "/v1/files/204", route)).status, 204);
    let unchanged = conn.ask(&bare("GET", "/v1/files/304", route));
    assert_eq!((unchanged.status, unchanged.header("etag")), (304, Some("\"e\"")));
    conn.answers_have_no_body = false;
    let last = conn.ask(&bare("GET", "/v1/files/x?after=1&b", route));
    assert_eq!((last.status, last.text()), (200, "last"));
    assert_eq!(up.last().first_line(), "GET /v1/files/x?after=1&b HTTP/1.1");
    assert_eq!(up.connections(), 1, "the connection stayed usable throughout");
}

fn an_answer_before_the_body_is_read_arrives(driver: Driver) {
    let up = Upstream::start(|peer| {
        if peer.head().is_some() {
            peer.send(&upstream::error_answer(429, "connection: close\r\n"));
            peer.wait_for_close();
        }
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    let words = "word ".repeat(2 << 20);
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{words}"}}]}}"#);
    let got = gateway.connect().post("/v1/chat/completions", &body);
    assert_eq!((got.status, got.message()), (429, "scripted 429".into()));
}

fn pipelined_requests_are_answered_in_order(driver: Driver) {
    let up = Upstream::start(|peer| {
        while let Some(heard) = peer.request() {
            peer.send(&json_answer(&heard.text()));
        }
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    let mut conn = gateway.connect();
    let all: Vec<u8> =
        (0..20).flat_map(|n| post("/v1/chat/completions", "", &chat(&format!("m{n}")))).collect();
    conn.send(&all);
    for n in 0..20 {
        assert_eq!(conn.answer().text(), chat(&format!("m{n}")));
    }
    assert_eq!(up.connections(), 1);
    gateway.records(20);
}

fn a_client_that_waits_for_100_is_invited(driver: Driver) {
    let up = Upstream::answering(json_answer("{}"));
    let gateway = Gateway::in_front_of(driver, up.port);
    let mut conn = gateway.connect();
    let request = post("/v1/chat/completions", "expect: 100-continue\r\n", &chat("m"));
    let at = http::find(&request, b"\r\n\r\n").expect("a head") + 4;
    for _ in 0..2 {
        conn.send(&request[..at]);
        assert_eq!(conn.head().expect("an invitation").0, 100);
        conn.send(&request[at..]);
        assert_eq!(conn.answer().status, 200);
    }
    assert_eq!(up.last().text(), chat("m"));
    assert_eq!(up.last().header("expect"), None);
}

fn upstream_connections_are_reused(driver: Driver) {
    let sandbox = sandbox::Box::start();
    let gateway = Gateway::in_front_of(driver, sandbox.port());
    for n in 0..30 {
        let body = if n % 2 == 0 { chat("m") } else { chat_stream("m") };
        let got = gateway.connect().post("/v1/chat/completions", &body);
        assert_eq!(got.status, 200);
    }
    let journal = sandbox.journal();
    assert_eq!(journal["requests_total"], 31);
    assert_eq!(journal["connections_opened"], 2, "one for the gateway and one for this question");
}

fn a_stale_pooled_connection_is_replaced_once(driver: Driver) {
    // The first connection dies as its second request arrives, without a word; that is no answer to anyone.
    let up = Upstream::start(|peer| {
        while peer.request().is_some() {
            if peer.number == 0 && !peer.send(&json_answer("{\"first\":1}")) {
                return;
            }
            if peer.number == 0 {
                peer.request();
                return;
            }
            peer.send(&json_answer("{\"second\":2}"));
        }
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    let mut conn = gateway.connect();
    assert_eq!(conn.post("/v1/chat/completions", &chat("m")).text(), "{\"first\":1}");
    let again = conn.post("/v1/chat/completions", &chat("m"));
    assert_eq!((again.status, again.text()), (200, "{\"second\":2}"));
    assert_eq!(again.header("x-portkey-retry-attempt-count"), Some("0"));
    let attempts = gateway.records(2)[1]["attempts"].as_array().map(Vec::len);
    assert_eq!(attempts, Some(1));
}

fn unsolicited_bytes_poison_nobody(driver: Driver) {
    let up = Upstream::start(|peer| {
        while let Some(heard) = peer.request() {
            let model = heard.text();
            peer.send(&json_answer(&model));
            if peer.number == 0 {
                pause(100);
                peer.send(&json_answer("{\"poison\":true}"));
            }
        }
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    let ask = |model: &str| {
        let got = Conn::to(gateway.address).post("/v1/chat/completions", &chat(model));
        assert_eq!((got.status, got.text()), (200, &*chat(model)));
    };
    ask("one");
    pause(400);
    (0..5).for_each(|n| ask(&format!("m{n}")));
    assert_eq!(up.connections(), 2, "the poisoned connection was closed");
}

fn a_second_answer_right_behind_the_first_poisons_nobody(driver: Driver) {
    let sent = Gate::default();
    let inner = sent.clone();
    let up = Upstream::start(move |peer| {
        while let Some(heard) = peer.request() {
            let answer = json_answer(&heard.text());
            let poison = json_answer("{\"poison\":true}");
            // In one segment with the answer, and in one of its own.
            match peer.count() % 2 {
                0 => peer.send(&[answer, poison].concat()),
                _ => peer.send(&answer) && peer.send(&poison),
            };
            inner.open();
        }
    });
    let gateway = Gateway::in_front_of(driver, up.port);
    let mut conn = gateway.connect();
    for n in 0..200 {
        let model = format!("m{n}");
        let got = conn.post("/v1/chat/completions", &chat(&model));
        assert_eq!((got.status, got.text()), (200, &*chat(&model)));
        // Bytes that come after the next request is out are its answer to everybody who can only read.
        sent.pass();
    }
}
