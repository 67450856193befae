//! The writer: order, counts, rotation, retention, restarts, full disks and full queues.

use std::{
    fs::{self, File},
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use trunkline::{
    dump::Outcome,
    io::log::{
        BodyEntry, LogSender, LogWriter, Submitted,
        disk::{Disk, RealDisk, Row, SegmentFile, segments},
        retention::{Retention, sweep},
    },
    wire::record::{Record, segment::Side},
};

use super::{Hands, NOON, check, run_dump, sample, settings, start, submit, tempdir};

/// A disk that is full whenever a test says so.
#[derive(Clone, Debug, Default)]
struct FullDisk(Arc<AtomicBool>);

#[derive(Debug)]
struct FullFile {
    file: Arc<dyn SegmentFile>,
    full: Arc<AtomicBool>,
}

impl FullDisk {
    fn set(&self, full: bool) {
        self.0.store(full, Ordering::SeqCst);
    }
}

impl Disk for FullDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(FullFile { file: RealDisk.create(path)?, full: Arc::clone(&self.0) }))
    }
}

impl SegmentFile for FullFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            // As a real one: some of it still fits.
            self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all_at(bytes, offset)
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.file.cut(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

/// A writer on a disk that can be full, and its only sender.
fn start_on_disk(dir: &Path) -> (LogWriter, LogSender, FullDisk) {
    let disk = FullDisk::default();
    let clock = Hands::at(NOON).clock();
    let (writer, mut senders, _) =
        LogWriter::start_on(Arc::new(disk.clone()), &settings(dir), 1, 5, clock).unwrap();
    (writer, senders.pop().unwrap(), disk)
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        thread::park_timeout(Duration::from_millis(2));
    }
    panic!("waited in vain until {what}");
}

fn count(dir: &Path) -> usize {
    run_dump(dir, |args| args.json = true).unwrap().1.lines().count()
}

#[test]
fn records_of_all_cores_arrive_once_and_in_order() {
    let dir = tempdir();
    let (writer, senders, recovery) =
        LogWriter::start(&settings(dir.path()), 3, 5, Hands::at(NOON).clock()).unwrap();
    assert_eq!(recovery.segments, 0);
    let threads: Vec<_> = senders
        .into_iter()
        .map(|mut sender| {
            thread::spawn(move || {
                for number in 0..3000 {
                    assert_eq!(submit(&mut sender, sample(number)), Submitted::Queued);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let summary = writer.stop();
    assert_eq!((summary.written, summary.dropped, summary.lost, summary.depth), (9000, 0, 0, 0));
    let (outcome, said) = check(dir.path());
    assert_eq!(outcome, Outcome::Done, "{said}");
    assert!(
        said.contains("9000 records of 1 process in 1 segment, 0 bodies in 0 segments"),
        "{said}"
    );
}

#[test]
fn a_record_is_in_the_file_within_milliseconds() {
    let dir = tempdir();
    let (writer, mut sender) = start(dir.path(), 5);
    thread::park_timeout(Duration::from_millis(300));
    let counters = writer.counters();
    let before = std::time::UNIX_EPOCH.elapsed().unwrap();
    assert_eq!(submit(&mut sender, sample(1)), Submitted::Queued);
    wait_until("it is written", || counters.stats().written == 1);
    let took = std::time::UNIX_EPOCH.elapsed().unwrap() - before;
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert_eq!(count(dir.path()), 1);
}

#[test]
fn restarts_share_the_directory_and_two_at_once_are_refused() {
    let dir = tempdir();
    for process in [5, 6] {
        let (writer, mut sender) = start(dir.path(), process);
        let refused = LogWriter::start(&settings(dir.path()), 1, 7, Hands::at(NOON).clock());
        let said = refused.err().unwrap().to_string();
        assert!(said.contains("is in use by another trunkline process (pid "), "{said}");
        assert!(said.contains("--log DIR"), "{said}");
        assert_eq!(submit(&mut sender, sample(process)), Submitted::Queued);
        assert_eq!(writer.stop().written, 1);
    }
    let (outcome, said) = check(dir.path());
    assert_eq!(outcome, Outcome::Done, "{said}");
    assert!(said.contains("2 records of 2 processes in 2 segments"), "{said}");
}

#[test]
fn a_full_disk_holds_records_back_and_loses_none_once_there_is_space() {
    let dir = tempdir();
    let (writer, mut sender, disk) = start_on_disk(dir.path());
    let sender = &mut sender;
    let counters = writer.counters();
    for number in 0..10 {
        assert_eq!(submit(sender, sample(number)), Submitted::Queued);
    }
    wait_until("they are written", || counters.stats().written == 10);
    disk.set(true);
    for number in 10..500 {
        assert_eq!(submit(sender, sample(number)), Submitted::Queued);
    }
    wait_until("the disk refuses", || counters.stats().write_errors > 0);
    assert_eq!(count(dir.path()), 10, "the file stays sound");
    disk.set(false);
    wait_until("all are written", || counters.stats().written == 500);
    let summary = writer.stop();
    assert_eq!((summary.dropped, summary.lost), (0, 0));
    let (outcome, said) = check(dir.path());
    assert_eq!(outcome, Outcome::Done, "{said}");
    assert!(said.contains("500 records"), "{said}");
}

#[test]
fn a_disk_that_stays_full_costs_counted_records_and_provable_gaps() {
    let dir = tempdir();
    let (writer, mut sender, disk) = start_on_disk(dir.path());
    let sender = &mut sender;
    let counters = writer.counters();
    assert_eq!(submit(sender, sample(0)), Submitted::Queued);
    wait_until("it is written", || counters.stats().written == 1);
    disk.set(true);
    let large = Record {
        error_message: "x".repeat(4000),
        metadata: vec![("k".into(), "v".repeat(4000)); 30],
        ..sample(1)
    };
    let mut queued = 1;
    let mut dropped = 0;
    while dropped < 3 {
        match submit(sender, large.clone()) {
            Submitted::Queued => queued += 1,
            Submitted::Dropped => dropped += 1,
        }
        assert!(queued < 1000, "the queue is bounded");
    }
    assert!(!sender.has_room());
    assert_eq!(counters.stats().dropped, 3);
    assert_eq!(counters.stats().queued, queued);
    disk.set(false);
    wait_until("there is room again", || sender.has_room());
    assert_eq!(submit(sender, sample(2)), Submitted::Queued);
    let summary = writer.stop();
    assert_eq!((summary.written, summary.lost), (queued + 1, 0));
    let (outcome, said) = check(dir.path());
    assert_eq!(outcome, Outcome::Faulty, "{said}");
    assert!(
        said.contains(&format!("core 0: records {} to {} are missing", queued + 1, queued + 3)),
        "{said}"
    );
    assert!(said.contains("dropped 3 records"), "{said}");
}

#[test]
fn what_a_full_disk_never_took_is_counted_as_lost_at_the_stop() {
    let dir = tempdir();
    let (writer, mut sender, disk) = start_on_disk(dir.path());
    disk.set(true);
    for number in 0..100 {
        assert_eq!(submit(&mut sender, sample(number)), Submitted::Queued);
    }
    let summary = writer.stop();
    assert_eq!((summary.written, summary.lost), (0, 100));
}

#[test]
fn segments_rotate_by_size_and_the_oldest_are_deleted() {
    let dir = tempdir();
    let mut settings = settings(dir.path());
    settings.retain_bytes = Some(4 << 20);
    let (writer, mut senders, _) =
        LogWriter::start(&settings, 1, 5, Hands::at(NOON).clock()).unwrap();
    let large = Record {
        error_message: "x".repeat(4000),
        metadata: vec![("k".into(), "v".repeat(4000)); 30],
        ..sample(1)
    };
    for _ in 0..80 {
        while !senders[0].has_room() {
            thread::yield_now();
        }
        assert_eq!(submit(&mut senders[0], large.clone()), Submitted::Queued);
        thread::park_timeout(Duration::from_millis(2));
    }
    let counters = writer.counters();
    wait_until("an old segment is deleted", || counters.stats().deleted_segments > 0);
    let summary = writer.stop();
    assert_eq!(summary.written, 80);
    let left = segments(dir.path(), Row::Records).unwrap();
    assert!(left.len() >= 3, "{left:?}");
    assert!(left[0].number > 1, "the oldest is gone");
    let (outcome, said) = check(dir.path());
    assert_eq!(outcome, Outcome::Done, "deleting old segments leaves no gap: {said}");
}

#[test]
fn segments_rotate_by_day_but_empty_ones_stay() {
    let dir = tempdir();
    let hands = Hands::at(NOON);
    let (writer, mut senders, _) =
        LogWriter::start(&settings(dir.path()), 1, 5, hands.clock()).unwrap();
    let counters = writer.counters();
    assert_eq!(submit(&mut senders[0], sample(1)), Submitted::Queued);
    wait_until("it is written", || counters.stats().written == 1);
    hands.advance(Duration::from_secs(24 * 3600));
    wait_until("a segment is begun", || segments(dir.path(), Row::Records).unwrap().len() == 2);
    hands.advance(Duration::from_secs(24 * 3600));
    thread::park_timeout(Duration::from_millis(200));
    assert_eq!(submit(&mut senders[0], sample(2)), Submitted::Queued);
    assert_eq!(writer.stop().written, 2);
    assert!(segments(dir.path(), Row::Records).unwrap().len() <= 3);
    assert_eq!(check(dir.path()).0, Outcome::Done);
}

#[test]
fn retention_deletes_by_age_and_by_size_and_never_the_active_one() {
    let dir = tempdir();
    let path = |number: u64| dir.path().join(format!("{number:012}.tlog"));
    let day = Duration::from_secs(24 * 3600);
    let now = UNIX_EPOCH + 100 * day;
    for number in 1..=6_u32 {
        let file = File::create(path(u64::from(number))).unwrap();
        file.set_len(1000).unwrap();
        file.set_modified(now - (7 - number) * day).unwrap();
    }
    fs::write(dir.path().join("notes.txt"), "not ours").unwrap();
    let by_age = Retention { keep_for: Some(day * 9 / 2), keep_bytes: None };
    let deleted = sweep(dir.path(), &by_age, &[path(6)], now).unwrap();
    assert_eq!(deleted.paths, [path(1), path(2)]);
    let by_size = Retention { keep_for: None, keep_bytes: Some(2500) };
    let deleted = sweep(dir.path(), &by_size, &[path(3), path(6)], now).unwrap();
    assert_eq!(deleted.paths, [path(4), path(5)]);
    let nothing = Retention { keep_for: Some(Duration::ZERO), keep_bytes: Some(0) };
    let deleted = sweep(dir.path(), &nothing, &[path(6)], now).unwrap();
    assert_eq!(deleted.paths, [path(3)]);
    assert!(path(6).exists() && dir.path().join("notes.txt").exists());
}

#[test]
fn bodies_are_kept_apart_and_can_be_deleted_alone() {
    let dir = tempdir();
    let settings = trunkline::config::Log { bodies: true, ..settings(dir.path()) };
    let (writer, mut senders, _) =
        LogWriter::start(&settings, 1, 5, Hands::at(NOON).clock()).unwrap();
    let record = sample(1);
    for (side, text) in [(Side::Request, "{\"prompt\":1}"), (Side::Response, "{\"answer\":2}")] {
        let body = BodyEntry {
            request_id: record.request_id,
            accepted_unix_nanos: record.accepted_unix_nanos,
            side,
            content_type: "application/json".into(),
            parts: vec![
                Bytes::from_static(&text.as_bytes()[..5]),
                Bytes::from_static(&text.as_bytes()[5..]),
            ],
            cut: false,
        };
        assert_eq!(senders[0].submit_body(body), Submitted::Queued);
    }
    assert_eq!(submit(&mut senders[0], record), Submitted::Queued);
    assert_eq!(writer.stop().bodies_written, 2);
    let (_, said) = run_dump(dir.path(), |args| {
        args.id = Some("00000001".into());
        args.bodies = true;
    })
    .unwrap();
    assert!(said.contains("request body, 12 bytes\n{\"prompt\":1}\n"), "{said}");
    assert!(said.contains("response body, 12 bytes\n{\"answer\":2}\n"), "{said}");
    assert_eq!(check(dir.path()).0, Outcome::Done);
    for segment in segments(dir.path(), Row::Bodies).unwrap() {
        fs::remove_file(segment.path).unwrap();
    }
    let (outcome, said) = check(dir.path());
    assert_eq!(outcome, Outcome::Done, "{said}");
    assert_eq!(count(dir.path()), 1);
}

#[test]
fn a_sender_without_bodies_takes_none() {
    let dir = tempdir();
    let (_writer, sender) = start(dir.path(), 5);
    assert!(!sender.wants_bodies());
}
