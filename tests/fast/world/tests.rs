//! What programs can rely on in a simulated world.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use trunkline::io::{
    buffer::WriteList,
    net::{Net, Reader, Writer},
};

use super::{Link, SimReader, SimWriter, World};

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

async fn send(writer: &mut SimWriter, bytes: &[u8]) -> io::Result<()> {
    let mut list = WriteList::new();
    list.push(Bytes::copy_from_slice(bytes));
    writer.write(list).await.0
}

async fn receive(reader: &mut SimReader) -> io::Result<Vec<u8>> {
    let (result, buffer) = reader.read(BytesMut::with_capacity(1000)).await;
    result.map(|_| buffer.to_vec())
}

/// Sends back what it gets.
async fn mirror(mut reader: SimReader, mut writer: SimWriter) {
    while let Ok(bytes) = receive(&mut reader).await
        && !bytes.is_empty()
        && send(&mut writer, &bytes).await.is_ok()
    {}
}

#[test]
fn time_passes_only_while_all_wait() {
    let world = World::new(1);
    let net = world.net();
    let start = net.now();
    let slept = world.run_until(async move {
        net.sleep_until(net.now().after(Duration::from_secs(3600))).await;
        net.now()
    });
    assert_eq!(slept.since(start), Duration::from_secs(3600));
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.net().now().since(slept), Duration::from_secs(5));
}

#[test]
fn bytes_take_the_latency_and_come_back() {
    let world = World::new(1);
    let link = Link { latency: Duration::from_millis(10), ..Link::default() };
    world.listen_over(address(1), link, mirror);
    let net = world.net();
    let took = world.run_until(async move {
        let start = net.now();
        let (mut reader, mut writer) = net.connect(address(1)).await.expect("it listens");
        send(&mut writer, b"there and back").await.expect("open");
        assert_eq!(receive(&mut reader).await.expect("open"), b"there and back");
        net.now().since(start)
    });
    assert_eq!(took, Duration::from_millis(40), "a round trip to connect, another one to ask");
}

#[test]
fn a_closed_connection_is_seen_by_both_halves_of_the_other_side() {
    let world = World::new(1);
    world.listen(address(1), |_, _| async {});
    let net = world.net();
    world.run_until(async move {
        let (mut reader, mut writer) = net.connect(address(1)).await.expect("it listens");
        assert_eq!(receive(&mut reader).await.expect("a clean end"), b"");
        let refused = send(&mut writer, b"x").await.expect_err("nobody reads");
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
    });
    world.run_for(Duration::ZERO);
    assert_eq!((world.open_connections(), world.tasks()), (0, 0));
}

#[test]
fn closing_on_unread_bytes_resets() {
    let world = World::new(1);
    let net = world.net();
    world.listen(address(1), move |reader, mut writer| {
        let net = net.clone();
        async move {
            send(&mut writer, b"last words").await.expect("open");
            net.sleep_until(net.now().after(Duration::from_secs(1))).await;
            drop(reader);
        }
    });
    let net = world.net();
    world.run_until(async move {
        let (mut reader, mut writer) = net.connect(address(1)).await.expect("it listens");
        send(&mut writer, b"never read").await.expect("open");
        assert_eq!(receive(&mut reader).await.expect("still open"), b"last words");
        let reset = receive(&mut reader).await.expect_err("a reset");
        assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_shutdown_ends_one_direction_only() {
    let world = World::new(1);
    world.listen(address(1), |mut reader, mut writer| async move {
        while !receive(&mut reader).await.expect("open").is_empty() {}
        send(&mut writer, b"heard").await.expect("the other direction is open");
    });
    let net = world.net();
    world.run_until(async move {
        let (mut reader, mut writer) = net.connect(address(1)).await.expect("it listens");
        send(&mut writer, b"hear this").await.expect("open");
        writer.shutdown().await.expect("open");
        assert_eq!(receive(&mut reader).await.expect("open"), b"heard");
    });
}

#[test]
fn a_writer_waits_for_a_slow_reader() {
    let world = World::new(1);
    let net = world.net();
    let link = Link { capacity: 10, ..Link::default() };
    world.listen_over(address(1), link, move |mut reader, _writer| {
        let net = net.clone();
        async move {
            let mut total = 0;
            while total < 100 {
                net.sleep_until(net.now().after(Duration::from_secs(1))).await;
                total += receive(&mut reader).await.expect("open").len();
            }
        }
    });
    let net = world.net();
    let took = world.run_until(async move {
        let (_reader, mut writer) = net.connect(address(1)).await.expect("it listens");
        let start = net.now();
        send(&mut writer, &[7; 100]).await.expect("open");
        net.now().since(start)
    });
    assert_eq!(took, Duration::from_secs(9), "the last ten bytes fit in unread");
}

#[test]
fn addresses_refuse_and_keep_silent_and_names_resolve() {
    let world = World::new(1);
    world.listen(address(1), mirror);
    world.refuse(address(1));
    world.silence(address(2));
    world.name("upstream.test", &[address(1).ip(), address(2).ip()]);
    let net = world.net();
    world.run_until(async move {
        let refused = net.connect(address(1)).await.map(|_| ()).expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let found = net.resolve("upstream.test", 80).await.expect("known");
        assert_eq!(found, [address(1), address(2)]);
        assert_eq!(net.resolve("10.0.0.1", 80).await.expect("a literal"), [address(1)]);
        let unknown = net.resolve("elsewhere.test", 80).await.expect_err("unknown");
        assert_eq!(unknown.kind(), io::ErrorKind::NotFound);
        let other = net.clone();
        net.spawn(async move {
            let _never = other.connect(address(2)).await;
        });
    });
    world.run_for(Duration::from_secs(3600));
    assert_eq!(world.tasks(), 1, "the silent connect waits for ever");
}

#[test]
fn a_seed_is_a_run() {
    let run = |seed| {
        let world = World::new(seed);
        world.shuffle();
        world.listen_over(address(1), Link { fragment: Some(5), ..Link::default() }, mirror);
        let log = Rc::new(RefCell::new(Vec::new()));
        for name in 0..5 {
            let (net, log) = (world.net(), log.clone());
            world.net().spawn(async move {
                let (mut reader, mut writer) = net.connect(address(1)).await.expect("open");
                send(&mut writer, &[name; 20]).await.expect("open");
                for _ in 0..4 {
                    let count = receive(&mut reader).await.expect("open").len();
                    log.borrow_mut().push((name, count));
                }
            });
        }
        world.run_for(Duration::from_secs(1));
        log.take()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    assert_eq!(run(3).len(), 20);
}

#[test]
#[should_panic(expected = "seed 77: everything waits")]
fn a_standstill_is_told_with_the_seed() {
    World::new(77).run_until(std::future::pending::<()>());
}
