//! Upstreams behind an HTTP proxy: tunnels, who resolves which name, and proxies that refuse, stall or talk nonsense.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use bytes::{Bytes, BytesMut};
use serde_json::json;
use trunkline::io::{
    buffer::WriteList,
    net::{Net, Reader, Writer},
};

use super::{
    Gate, Setup,
    answer::Answer,
    client::{chat, chat_body},
    millis, secs,
    target::Act,
};
use crate::world::{SimNet, SimReader, SimWriter};

/// A proxy that says what it is told to, and opens tunnels after a 200.
struct Proxy {
    net: SimNet,
    /// What the next tunnels are answered; then with a 200.
    says: RefCell<VecDeque<Vec<Act>>>,
    /// Heads as they came.
    asked: RefCell<Vec<String>>,
    /// Where names lead that only the proxy knows.
    names: RefCell<HashMap<String, SocketAddr>>,
    open: Cell<usize>,
}

const AT: ([u8; 4], u16) = ([10, 9, 9, 9], 3128);
const OPENED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

impl Proxy {
    fn listen(gate: &Gate) -> Rc<Proxy> {
        let proxy = Rc::new(Proxy {
            net: gate.world.net(),
            says: RefCell::default(),
            asked: RefCell::default(),
            names: RefCell::default(),
            open: Cell::new(0),
        });
        let serving = Rc::clone(&proxy);
        gate.world.listen(SocketAddr::from(AT), move |reader, writer| {
            let proxy = Rc::clone(&serving);
            async move { proxy.serve(reader, writer).await }
        });
        proxy
    }

    async fn serve(&self, mut reader: SimReader, mut writer: SimWriter) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let (read, buffer) = reader.read(BytesMut::with_capacity(4096)).await;
            if !matches!(read, Ok(1..)) {
                return;
            }
            head.extend_from_slice(&buffer);
        }
        let head = String::from_utf8(head).expect("a head of text");
        self.asked.borrow_mut().push(head.clone());
        let next = self.says.borrow_mut().pop_front();
        let acts = next.unwrap_or_else(|| vec![Act::say(OPENED)]);
        let opens = opens(&acts);
        for act in acts {
            match act {
                Act::Say(bytes) => {
                    let _ = writer.write(WriteList::of(bytes)).await;
                }
                Act::Wait(wait) => self.net.sleep_until(self.net.now().after(wait)).await,
                Act::Stall => {
                    let _ = reader.read(BytesMut::with_capacity(16)).await;
                    return;
                }
                other => panic!("no proxy does {other:?}"),
            }
        }
        let target = head.split(' ').nth(1).expect("a target").to_owned();
        let known = self.names.borrow().get(&target).copied();
        let Some(to) = known.or_else(|| target.parse().ok()).filter(|_| opens) else { return };
        let Ok((up_reader, up_writer)) = self.net.connect(to).await else { return };
        self.open.set(self.open.get() + 1);
        self.net.spawn(pass(reader, up_writer));
        pass(up_reader, writer).await;
        self.open.set(self.open.get() - 1);
    }

    /// The targets that were asked for.
    fn targets(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        asked.iter().map(|head| head.split(' ').nth(1).expect("a target").to_owned()).collect()
    }

    fn then_says(&self, acts: impl IntoIterator<Item = Act>) {
        self.says.borrow_mut().push_back(acts.into_iter().collect());
    }
}

/// Whether what is said is a 200, whole, behind nothing but interim answers.
fn opens(acts: &[Act]) -> bool {
    let said =
        acts.iter().filter_map(|act| if let Act::Say(said) = act { Some(&said[..]) } else { None });
    let said = said.collect::<Vec<_>>().concat();
    let said = String::from_utf8_lossy(&said);
    let mut heads: Vec<&str> = said.split_terminator("\r\n\r\n").collect();
    let last = heads.pop().unwrap_or_default();
    let interim = heads.iter().all(|head| head.starts_with("HTTP/1.1 1"));
    said.ends_with("\r\n\r\n") && interim && last.starts_with("HTTP/1.1 200")
}

async fn pass(mut reader: SimReader, mut writer: SimWriter) {
    loop {
        let (read, buffer) = reader.read(BytesMut::with_capacity(4096)).await;
        if !matches!(read, Ok(1..)) || writer.write(WriteList::of(buffer.freeze())).await.0.is_err()
        {
            let _ = writer.shutdown().await;
            return;
        }
    }
}

fn setup() -> Setup {
    Setup::new(1).file("egress_proxy: http://user:p%40ss@10.9.9.9:3128")
}

fn alone() -> Setup {
    setup().policy(json!({"virtual_key": "a"}))
}

#[test]
fn one_tunnel_serves_many_requests() {
    let gate = setup().open();
    let proxy = Proxy::listen(&gate);
    for _ in 0..3 {
        assert_eq!(gate.ask("hi").served_by(), "a");
        assert!(gate.stream("hi").is_whole());
    }
    assert_eq!(
        proxy.asked.borrow()[..],
        ["CONNECT 10.0.0.1:80 HTTP/1.1\r\nhost: 10.0.0.1:80\r\n\
          proxy-authorization: Basic dXNlcjpwQHNz\r\n\r\n"]
    );
    assert_eq!((gate.target("a").connections(), gate.counters.upstream_reused.get()), (1, 5));
    gate.close();
    assert_eq!(proxy.open.get(), 0);
}

#[test]
fn what_the_file_declares_is_resolved_by_the_proxy() {
    let gate =
        alone().change(|config| config.virtual_keys[0].base.host = "llm.inside".into()).open();
    let proxy = Proxy::listen(&gate);
    proxy.names.borrow_mut().insert("llm.inside:80".into(), SocketAddr::from(([10, 0, 0, 1], 80)));
    assert_eq!(gate.ask("hi").served_by(), "a");
    assert_eq!(proxy.targets(), ["llm.inside:80"]);
    gate.close();
}

/// A call that brings its own host and key.
fn to_host(gate: &Gate, host: &str) -> Answer {
    let body = chat_body("hi", false).to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nx-portkey-provider: openai\r\n\
         x-portkey-custom-host: http://{host}/v1\r\nauthorization: Bearer sk-own\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    gate.post(head.as_bytes())
}

fn addresses(last: &[[u8; 4]]) -> Vec<IpAddr> {
    last.iter().map(|octets| IpAddr::from(*octets)).collect()
}

#[test]
fn what_a_request_names_is_resolved_and_checked_here_and_the_address_pinned() {
    let gate = setup().file("custom_hosts: { allow_private: true }").open();
    let proxy = Proxy::listen(&gate);
    gate.world.name("llm.example", &addresses(&[[10, 0, 0, 1]]));
    assert_eq!(to_host(&gate, "llm.example").served_by(), "a");
    assert_eq!(proxy.targets(), ["10.0.0.1:80"]);
    // The same place, declared by the file: a connection of its own, as nobody checked that one.
    assert_eq!(gate.ask("hi").served_by(), "a");
    assert_eq!(proxy.targets().len(), 2);
    // One address that the proxy cannot reach, then one that it can.
    proxy.then_says([Act::say("HTTP/1.1 502 Bad Gateway\r\n\r\n")]);
    gate.world.name("two.example", &addresses(&[[10, 0, 0, 50], [10, 0, 0, 2]]));
    assert_eq!(to_host(&gate, "two.example").served_by(), "b");
    assert_eq!(proxy.targets()[2..], ["10.0.0.50:80", "10.0.0.2:80"]);
    // Names that lead where no request may go, and names without an address: the proxy is not asked.
    gate.world.name("metadata.example", &addresses(&[[169, 254, 169, 254]]));
    gate.world.name("here.example", &addresses(&[[127, 0, 0, 1]]));
    for refused in ["metadata.example", "here.example", "169.254.169.254"] {
        let answer = to_host(&gate, refused);
        assert_eq!(answer.status, 400, "{refused}: {}", answer.text());
    }
    assert_eq!(to_host(&gate, "nowhere.example").status, 502);
    assert_eq!(proxy.targets().len(), 4);
    gate.close();
}

#[test]
fn hosts_that_are_listed_are_reached_directly() {
    let file = "egress_proxy: { url: 'http://10.9.9.9:3128', no_proxy: [10.0.0.1] }";
    let gate = Setup::new(1).file(file).file("custom_hosts: { allow_private: true }").open();
    let proxy = Proxy::listen(&gate);
    assert_eq!(gate.ask("hi").served_by(), "a");
    // Also where that shows only once a name is resolved.
    gate.world.name("llm.example", &addresses(&[[10, 0, 0, 1]]));
    assert_eq!(to_host(&gate, "llm.example").served_by(), "a");
    assert_eq!(proxy.targets().len(), 0);
    gate.target("a").refuses();
    gate.world.run_for(secs(100));
    assert_eq!(gate.ask("hi").served_by(), "b");
    assert_eq!(proxy.targets(), ["10.0.0.2:80"]);
    assert!(!proxy.asked.borrow()[0].contains("authorization"));
}

#[test]
fn a_proxy_that_opens_no_tunnel_is_named() {
    let gate = alone().open();
    let proxy = Proxy::listen(&gate);
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17);
    for (says, words) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            "answered 407: it does not take the user name and password",
        ),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno", "answered 403 Forbidden"),
        ("HTTP/1.0 502 x\r\n\r\n", "answered 502 Bad Gateway"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "answered 101"),
        ("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "into a tunnel"),
        ("SSH-2.0-OpenSSH_9.6\r\n\r\n", "could not be used"),
        ("\0\0\0\0\r\n\r\n", "could not be used"),
        ("HTTP/1.1 200 OK\r\n", "closed without an answer"),
        ("", "closed without an answer"),
        (&interim, "1xx answers without end"),
    ] {
        proxy.then_says([Act::say(says)]);
        let answer = gate.ask("hi");
        assert_eq!(answer.status, 502, "{says:?}: {}", answer.text());
        assert_eq!(answer.header("x-trunkline-error-source"), Some("network"), "{says:?}");
        assert!(answer.text().contains(words), "{says:?}: {}", answer.text());
        assert!(answer.text().contains("egress proxy 10.9.9.9:3128"), "{}", answer.text());
        assert!(!answer.text().contains("dXNlcjpwQHNz") && !answer.text().contains("p@ss"));
    }
    let heads = 64 * 1024 / 16;
    proxy.then_says([Act::say(format!(
        "HTTP/1.1 200 OK\r\n{}",
        "x: 0123456789a\r\n".repeat(heads)
    ))]);
    assert_eq!(gate.ask("hi").status, 502);
    assert_eq!(gate.target("a").connections(), 0);
    gate.world.refuse(SocketAddr::from(AT));
    let answer = gate.ask("hi");
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("could not be used"), "{}", answer.text());
    gate.close();
}

#[test]
fn a_proxy_that_refuses_is_the_next_targets_chance() {
    let gate = setup().open();
    let proxy = Proxy::listen(&gate);
    proxy.then_says([Act::say("HTTP/1.1 403 Forbidden\r\n\r\n")]);
    assert_eq!(gate.ask("hi").served_by(), "b");
    assert_eq!(proxy.targets(), ["10.0.0.1:80", "10.0.0.2:80"]);
    let record = gate.record();
    assert_eq!(record.attempts.len(), 2);
    assert!(record.attempts[0].detail.contains("403 Forbidden"), "{record:?}");
}

#[test]
fn a_proxy_that_stalls_costs_no_more_than_the_connect_deadline() {
    let gate = alone().file("timeouts: { connect: 3s }").open();
    let proxy = Proxy::listen(&gate);
    let stalls = [
        vec![Act::Stall],
        vec![Act::say("HTTP/1.1 200 OK\r\n"), Act::Stall],
        vec![Act::say("HTTP/1.1 103 Early Hints\r\n\r\n"), Act::Wait(secs(60))],
    ];
    for acts in stalls {
        proxy.then_says(acts);
        let answer = gate.ask("hi");
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert!(answer.took >= secs(3) && answer.took < millis(3500), "{:?}", answer.took);
        assert!(answer.text().contains("through the egress proxy"), "{}", answer.text());
    }
    gate.world.silence(SocketAddr::from(AT));
    assert_eq!(gate.ask("hi").status, 504);
    gate.world.run_for(secs(120));
    gate.close();
}

#[test]
fn a_slow_answer_and_interim_ones_open_it_all_the_same() {
    let gate = alone().open();
    let proxy = Proxy::listen(&gate);
    let slowly = |text: &str| -> Vec<Act> {
        let bytes = text.as_bytes().chunks(1).map(Bytes::copy_from_slice);
        bytes.flat_map(|byte| [Act::Say(byte), Act::Wait(millis(5))]).collect()
    };
    let mut acts = slowly("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nvia: 1.1 x");
    acts.push(Act::say("\r\n\r\n"));
    proxy.then_says(acts);
    assert_eq!(gate.ask("hi").served_by(), "a");
    gate.close();
}

#[test]
fn a_client_that_goes_takes_the_half_open_tunnel_with_it() {
    let gate = alone().open();
    let proxy = Proxy::listen(&gate);
    proxy.then_says([Act::Stall]);
    let conn = gate.begin(&chat("hi", false), millis(100));
    assert_eq!(proxy.targets().len(), 1);
    drop(conn);
    gate.world.run_for(secs(1));
    assert_eq!(gate.world.open_connections(), 0);
    assert!(gate.record().client_gone);
    gate.close();
}
