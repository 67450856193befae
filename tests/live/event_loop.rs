//! The event loop over real sockets: bytes arrive whole and in order, slow peers are waited for, what is closed stays
//! closed.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    net::{SocketAddr, TcpListener},
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use trunkline::{
    base::limits,
    io::{
        buffer::WriteList,
        clock::Clock,
        event,
        kernel::{Kernel, Listener, TcpReader, TcpWriter},
        net::{Net, Reader, Writer},
        race::{First, all, race},
        worker::run_alone,
    },
};

use crate::harness::{Driver, on_both_drivers};

on_both_drivers! {
    bytes_arrive_whole_however_they_are_written,
    a_writer_waits_for_its_slow_reader,
    a_wait_that_is_given_up_loses_nothing,
    what_was_written_is_sent_though_the_connection_is_dropped,
    a_descriptor_that_is_used_again_gets_nothing_of_its_old_connection,
    more_messages_than_pages_at_once_all_arrive,
    what_comes_while_nobody_waits_is_there_at_the_next_look,
    what_has_come_is_seen_however_much_was_received_before,
    long_and_short_messages_take_turns,
    few_long_messages_are_held_at_a_time_however_many_have_come,
    a_long_message_is_begun_however_much_else_there_is_to_do,
    a_refused_connection_is_an_error,
    a_peer_that_is_gone_is_seen_by_who_writes,
    sleepers_wake_in_order_and_end_with_the_loop,
}

/// The most that a test may take.
const DEADLINE: Duration = Duration::from_secs(60);

type Pair = (TcpReader, TcpWriter);

/// Runs a piece of work on a loop of its own.
fn run<F: Future<Output = ()>>(driver: Driver, work: impl FnOnce(Kernel) -> F) {
    let driver = match driver {
        Driver::Uring => event::Driver::Uring,
        Driver::Epoll => event::Driver::Epoll,
    };
    let done = run_alone(driver, Clock::start(), |kernel| async move {
        let time_is_up = kernel.now().after(DEADLINE);
        let work = Box::pin(work(kernel.clone()));
        match race(work, pin!(kernel.sleep_until(time_is_up))).await {
            First::Left(()) => {}
            First::Right(()) => panic!("not done after {DEADLINE:?}"),
        }
    });
    done.expect("a loop");
}

struct Place {
    listener: Listener,
    address: SocketAddr,
}

fn listen(kernel: &Kernel) -> Place {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    Place { listener: Listener::new(kernel, listener).expect("a listener"), address }
}

/// A connection: its two ends.
async fn connect(kernel: &Kernel, place: &Place) -> (Pair, Pair) {
    let ours = kernel.connect(place.address).await.expect("a connection");
    let (reader, writer, _) = place.listener.accept().await.expect("a connection");
    (ours, (reader, writer))
}

fn pattern(length: usize, seed: usize) -> Bytes {
    (0..length).map(|at| (at.wrapping_mul(31).wrapping_add(seed) % 251) as u8).collect()
}

async fn write(writer: &mut TcpWriter, parts: &[Bytes]) {
    let mut list = WriteList::new();
    list.extend(parts.iter().cloned());
    writer.write(list).await.0.expect("a peer that reads");
}

async fn read_to_end(reader: &mut TcpReader) -> BytesMut {
    let mut buffer = BytesMut::new();
    while poll_fn(|cx| reader.poll_read(cx, &mut buffer)).await.expect("a whole stream") > 0 {}
    buffer
}

async fn read_exactly(reader: &mut TcpReader, length: usize) -> BytesMut {
    let mut buffer = BytesMut::new();
    while buffer.len() < length {
        let count = poll_fn(|cx| reader.poll_read(cx, &mut buffer)).await.expect("a whole stream");
        assert!(count > 0, "{} of {length} bytes, then the end", buffer.len());
    }
    buffer
}

/// Reads a message into a buffer with room for it, by which the loop knows that messages are long.
async fn read_first_long(reader: &mut TcpReader, length: usize) {
    let mut buffer = BytesMut::with_capacity(1 + length.max(limits::LONG_BUFFER_BYTES));
    buffer.extend_from_slice(b"x");
    while buffer.len() < 1 + length {
        poll_fn(|cx| reader.poll_read(cx, &mut buffer)).await.expect("a whole stream");
    }
}

async fn pause(kernel: &Kernel, wait: Duration) {
    kernel.sleep_until(kernel.now().after(wait)).await;
}

async fn until(kernel: &Kernel, is_true: impl Fn() -> bool) {
    while !is_true() {
        pause(kernel, Duration::from_millis(2)).await;
    }
}

fn bytes_arrive_whole_however_they_are_written(driver: Driver) {
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        let ((_kept, mut writer), (mut reader, _also)) = connect(&kernel, &place).await;
        let pieces: Vec<Bytes> = (0..300).map(|at| pattern(1 + at * at * 7 % 90_000, at)).collect();
        let expected = pieces.concat();
        kernel.spawn(async move {
            for parts in pieces.chunks(3) {
                write(&mut writer, parts).await;
            }
            writer.shutdown().await.expect("an open connection");
        });
        assert!(read_to_end(&mut reader).await == expected, "other bytes arrived");
    });
}

fn a_writer_waits_for_its_slow_reader(driver: Driver) {
    const PIECES: usize = 2_000;
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        let ((_kept, mut writer), (mut reader, _also)) = connect(&kernel, &place).await;
        let written = Rc::new(Cell::new(0));
        let count = Rc::clone(&written);
        let piece = pattern(32 * 1024, 0);
        let sent = piece.clone();
        kernel.spawn(async move {
            for _ in 0..PIECES {
                write(&mut writer, std::slice::from_ref(&sent)).await;
                count.set(count.get() + 1);
            }
        });
        let first = read_exactly(&mut reader, 1).await;
        let mut before = usize::MAX;
        while before != written.get() {
            before = written.get();
            pause(&kernel, Duration::from_millis(200)).await;
        }
        assert!(before < PIECES, "all was taken for a reader that does not read");
        let rest = read_exactly(&mut reader, PIECES * piece.len() - first.len()).await;
        let got = [&first[..], &rest[..]].concat();
        assert!(got.chunks(piece.len()).all(|part| part == piece), "other bytes arrived");
    });
}

fn a_wait_that_is_given_up_loses_nothing(driver: Driver) {
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        let ((_kept, mut writer), (mut reader, _also)) = connect(&kernel, &place).await;
        let sender = kernel.clone();
        kernel.spawn(async move {
            for at in 0..200 {
                write(&mut writer, &[pattern(100, at)]).await;
                pause(&sender, Duration::from_micros(300)).await;
            }
            writer.shutdown().await.expect("an open connection");
        });
        let (mut got, mut given_up, mut ended) = (BytesMut::new(), 0, false);
        while !ended {
            let read = poll_fn(|cx| reader.poll_read(cx, &mut got));
            match race(read, pin!(pause(&kernel, Duration::from_micros(100)))).await {
                First::Left(count) => ended = count.expect("a whole stream") == 0,
                First::Right(()) => given_up += 1,
            }
        }
        let expected: Vec<u8> = (0..200).flat_map(|at| pattern(100, at)).collect();
        assert!(got == expected, "other bytes arrived");
        assert!(given_up > 0);
    });
}

fn what_was_written_is_sent_though_the_connection_is_dropped(driver: Driver) {
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        for length in [1, 1_000, 20_000] {
            let ((reader, mut writer), (mut other, _kept)) = connect(&kernel, &place).await;
            let sent = pattern(length, length);
            write(&mut writer, std::slice::from_ref(&sent)).await;
            drop((reader, writer));
            assert!(read_to_end(&mut other).await == sent, "{length} bytes");
        }
    });
}

fn a_descriptor_that_is_used_again_gets_nothing_of_its_old_connection(driver: Driver) {
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        for round in 0..200 {
            let (mut old, old_peer) = connect(&kernel, &place).await;
            // Its read is begun, and never seen by the kernel unless closing sees to that.
            let mut nothing = BytesMut::new();
            let mut nobody = Context::from_waker(Waker::noop());
            assert!(old.0.poll_read(&mut nobody, &mut nothing).is_pending());
            drop(old);
            let ((mut reader, _kept), (_also, mut writer)) = connect(&kernel, &place).await;
            write(&mut writer, &[pattern(700, round)]).await;
            assert!(read_exactly(&mut reader, 700).await == pattern(700, round), "{round}");
            drop(old_peer);
        }
    });
}

fn more_messages_than_pages_at_once_all_arrive(driver: Driver) {
    const CONNECTIONS: usize = 300;
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        let mut pairs = Vec::new();
        for _ in 0..CONNECTIONS {
            pairs.push(connect(&kernel, &place).await);
        }
        for round in 0..5 {
            for (at, ((_, writer), _)) in pairs.iter_mut().enumerate() {
                write(writer, &[pattern(3_000, at + round)]).await;
            }
            let reads = pairs.iter_mut().enumerate().map(|(at, (_, (reader, _)))| {
                let read: std::pin::Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
                    assert!(read_exactly(reader, 3_000).await == pattern(3_000, at + round));
                });
                read
            });
            all(reads.collect()).await;
        }
    });
}

fn what_comes_while_nobody_waits_is_there_at_the_next_look(driver: Driver) {
    const CONNECTIONS: usize = 300;
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        let mut nobody = Context::from_waker(Waker::noop());
        let mut pairs = Vec::new();
        for _ in 0..CONNECTIONS {
            let (ours, mut theirs) = connect(&kernel, &place).await;
            assert!(theirs.0.poll_read(&mut nobody, &mut BytesMut::new()).is_pending());
            pairs.push((ours, theirs));
        }
        // More at once than there are pages to receive into.
        for ((_, writer), _) in &mut pairs {
            write(writer, &[pattern(500, 0)]).await;
        }
        // What is sent after them has come, many times over: then so have they.
        let ((_kept, mut writer), (mut reader, _also)) = connect(&kernel, &place).await;
        for _ in 0..100 {
            write(&mut writer, &[pattern(10, 0)]).await;
            read_exactly(&mut reader, 10).await;
        }
        for (at, (_, (reader, _))) in pairs.iter_mut().enumerate() {
            let looked = reader.poll_read(&mut nobody, &mut BytesMut::new());
            assert!(matches!(looked, Poll::Ready(Ok(500))), "connection {at}: {looked:?}");
        }
    });
}

/// A pooled connection that was taken for silent would be used again with bytes that nobody asked for.
fn what_has_come_is_seen_however_much_was_received_before(driver: Driver) {
    const LONG_BYTES: usize = 30_000;
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        let mut pairs = Vec::new();
        for _ in 0..2 * limits::DIRECT_BYTES_A_TURN / LONG_BYTES {
            let (ours, mut theirs) = connect(&kernel, &place).await;
            write(&mut theirs.1, &[pattern(LONG_BYTES, 0)]).await;
            pairs.push((ours, theirs));
        }
        let ((mut quiet, mut writer), (mut far_reader, mut far_writer)) =
            connect(&kernel, &place).await;
        for _ in 0..100 {
            write(&mut writer, &[pattern(10, 0)]).await;
            read_exactly(&mut far_reader, 10).await;
        }
        write(&mut far_writer, &[pattern(500, 0)]).await;
        pause(&kernel, Duration::from_millis(100)).await;
        // From here on nothing is waited for: it is one turn.
        let mut nobody = Context::from_waker(Waker::noop());
        let mut look = |reader: &mut TcpReader| {
            // One that has something and room for much is received into as it is.
            let mut long = BytesMut::with_capacity(limits::LONG_BUFFER_BYTES);
            long.extend_from_slice(b"begun");
            reader.poll_read(&mut nobody, &mut long)
        };
        for ((reader, _), _) in &mut pairs {
            assert!(matches!(look(reader), Poll::Ready(Ok(LONG_BYTES))));
        }
        assert!(matches!(look(&mut quiet), Poll::Ready(Ok(500))));
    });
}

fn long_and_short_messages_take_turns(driver: Driver) {
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        let ((mut reader, mut writer), (mut far_reader, mut far_writer)) =
            connect(&kernel, &place).await;
        let lengths = [10, 16 * 1024, 400_000, 10, 10, 5_000_000, 300, 16 * 1024 + 1, 1];
        kernel.spawn(async move {
            for length in lengths {
                let mut message = BytesMut::with_capacity(length);
                while message.len() < length {
                    let read = poll_fn(|cx| far_reader.poll_read(cx, &mut message)).await;
                    assert!(read.expect("a whole stream") > 0);
                }
                write(&mut far_writer, &[message.freeze()]).await;
            }
        });
        for length in lengths {
            let message = pattern(length, length);
            write(&mut writer, &[message.slice(..length / 2), message.slice(length / 2..)]).await;
            assert!(read_exactly(&mut reader, length).await == message, "{length} bytes");
        }
    });
}

/// What was received for one is still in the processor's cache when it is passed on, and its memory when the next comes.
fn few_long_messages_are_held_at_a_time_however_many_have_come(driver: Driver) {
    const CONNECTIONS: usize = 100;
    const LONG_BYTES: usize = 40_000;
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        let [held, held_max, done]: [Rc<Cell<usize>>; 3] = Default::default();
        let mut writers = Vec::new();
        for _ in 0..CONNECTIONS {
            let ((kept, mut writer), (mut reader, _also)) = connect(&kernel, &place).await;
            let (mut asked, mut answerer) = connect(&kernel, &place).await;
            let (held, held_max, done) = (Rc::clone(&held), Rc::clone(&held_max), Rc::clone(&done));
            kernel.spawn(async move {
                let _kept = kept;
                read_first_long(&mut reader, LONG_BYTES).await;
                done.set(done.get() + 1);
                let _held_until_answered = read_exactly(&mut reader, LONG_BYTES).await;
                held.set(held.get() + 1);
                held_max.set(held_max.get().max(held.get()));
                write(&mut asked.1, &[pattern(10, 0)]).await;
                read_exactly(&mut asked.0, 10).await;
                held.set(held.get() - 1);
                done.set(done.get() + 1);
            });
            kernel.spawn(async move {
                let asked = read_exactly(&mut answerer.0, 10).await;
                write(&mut answerer.1, &[asked.freeze()]).await;
            });
            write(&mut writer, &[pattern(LONG_BYTES, 0)]).await;
            writers.push(writer);
        }
        until(&kernel, || done.get() == CONNECTIONS).await;
        for writer in &mut writers {
            write(writer, &[pattern(LONG_BYTES, 0)]).await;
        }
        until(&kernel, || done.get() == 2 * CONNECTIONS).await;
        let held_max = held_max.get();
        assert!(held_max <= 4 * limits::DIRECT_BYTES_A_TURN / LONG_BYTES, "{held_max} were held");
    });
}

fn a_long_message_is_begun_however_much_else_there_is_to_do(driver: Driver) {
    const LONG_BYTES: usize = 40_000;
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        let ((_kept, mut writer), (mut reader, _also)) = connect(&kernel, &place).await;
        let done = Rc::new(Cell::new(false));
        let is_done = Rc::clone(&done);
        kernel.spawn(async move {
            read_first_long(&mut reader, LONG_BYTES).await;
            read_exactly(&mut reader, LONG_BYTES).await;
            is_done.set(true);
        });
        write(&mut writer, &[pattern(LONG_BYTES, 0)]).await;
        pause(&kernel, Duration::from_millis(20)).await;
        write(&mut writer, &[pattern(LONG_BYTES, 0)]).await;
        // There is always a task to be polled.
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if done.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
}

fn a_refused_connection_is_an_error(driver: Driver) {
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        drop(place.listener);
        let refused = kernel.connect(place.address).await.map(drop);
        assert_eq!(
            refused.expect_err("nobody listens").kind(),
            std::io::ErrorKind::ConnectionRefused
        );
    });
}

fn a_peer_that_is_gone_is_seen_by_who_writes(driver: Driver) {
    run(driver, |kernel| async move {
        let place = listen(&kernel);
        let ((_reader, mut writer), peer) = connect(&kernel, &place).await;
        drop(peer);
        let mut written = Ok(());
        while written.is_ok() {
            written = writer.write(WriteList::of(pattern(1_000, 0))).await.0;
            pause(&kernel, Duration::from_millis(1)).await;
        }
    });
}

fn sleepers_wake_in_order_and_end_with_the_loop(driver: Driver) {
    struct Ends(Rc<Cell<bool>>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let ended = Rc::new(Cell::new(false));
    let flag = Ends(Rc::clone(&ended));
    run(driver, |kernel| async move {
        let woken = Rc::new(RefCell::new(Vec::new()));
        let start = kernel.now();
        for wait in [30_u64, 10, 20, 0] {
            let (woken, sleeper) = (Rc::clone(&woken), kernel.clone());
            kernel.spawn(async move {
                sleeper.sleep_until(start.after(Duration::from_millis(wait))).await;
                woken.borrow_mut().push(wait);
            });
        }
        kernel.spawn(async move {
            let _held = flag;
            poll_fn(|_| Poll::<()>::Pending).await;
        });
        pause(&kernel, Duration::from_millis(60)).await;
        assert_eq!(*woken.borrow(), [0, 10, 20, 30]);
    });
    assert!(ended.get(), "a task outlived its loop");
}
