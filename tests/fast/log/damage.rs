//! Flipped bytes and torn tails: what is lost, what is said, what is repaired.

use std::{
    fs::{self, File},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use trunkline::{
    dump::Outcome,
    io::log::{
        read::{Piece, SegmentReader},
        recovery::recover,
    },
    wire::record::{
        Record,
        block::{self, BlockHead, BlockKind},
        decode, encode,
        segment::{CoreEnd, FORMAT, SegmentEnd, SegmentHead},
    },
};

use super::{check, run_dump, sample, tempdir};

const BLOCKS: u64 = 3;
const RECORDS_A_BLOCK: u64 = 2;
const PROCESS: u64 = 0xfeed;

/// A small segment with its records, and where its blocks start and end.
fn segment() -> (Vec<u8>, Vec<Record>, Vec<usize>) {
    let mut bytes = Vec::new();
    let mut records = Vec::new();
    let mut ends = Vec::new();
    let head =
        |kind, block, entries| BlockHead { kind, process: PROCESS, segment: 1, block, entries };
    let segment_head = SegmentHead {
        format: FORMAT,
        process_started_unix_nanos: 1,
        started_unix_nanos: 2,
        index: 0,
        program: "trunkline".into(),
    };
    block::write(&mut bytes, &head(BlockKind::Head, 0, 0), |out| segment_head.encode(out));
    ends.push(bytes.len());
    for block in 0..BLOCKS {
        let block_head = head(BlockKind::Records, block as u32 + 1, RECORDS_A_BLOCK as u32);
        block::write(&mut bytes, &block_head, |out| {
            for _ in 0..RECORDS_A_BLOCK {
                let sequence = records.len() as u64 + 1;
                let record = Record { sequence, process: PROCESS, ..sample(sequence) };
                record.lend(|record| encode(record, out));
                records.push(record);
            }
        });
        ends.push(bytes.len());
    }
    let cores = vec![CoreEnd { core: 0, last_sequence: records.len() as u64, dropped: 0 }];
    let end = SegmentEnd { stopped: true, cores };
    block::write(&mut bytes, &head(BlockKind::End, BLOCKS as u32 + 1, 0), |out| end.encode(out));
    ends.push(bytes.len());
    (bytes, records, ends)
}

fn read(bytes: &[u8]) -> Vec<Record> {
    let mut reader = SegmentReader::new(bytes, 0, None);
    let mut records = Vec::new();
    while let Some(piece) = reader.next_piece().unwrap() {
        if let Piece::Block { head, mut payload, .. } = piece
            && head.kind == BlockKind::Records
        {
            while !payload.is_empty() {
                let (record, taken) = decode(payload).unwrap();
                records.push(record);
                payload = &payload[taken..];
            }
        }
    }
    records
}

/// Writes a segment file that looks as if nobody had touched it for long.
fn write_old(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    let old = UNIX_EPOCH + Duration::from_secs(1_000_000);
    File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
}

#[test]
fn a_flipped_byte_costs_one_block_at_most_and_never_makes_a_record_up() {
    let (mut bytes, records, _) = segment();
    assert_eq!(read(&bytes), records);
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80] {
            bytes[at] ^= flip;
            let found = read(&bytes);
            bytes[at] ^= flip;
            let lost: Vec<_> = records.iter().filter(|record| !found.contains(record)).collect();
            assert_eq!(found.len() + lost.len(), records.len(), "a record was made up at {at}");
            let block_of = |record: &&Record| (record.sequence - 1) / RECORDS_A_BLOCK;
            let first = lost.first().map(block_of);
            assert!(lost.iter().all(|record| Some(block_of(record)) == first), "byte {at}");
        }
    }
}

#[test]
fn check_finds_every_flipped_byte() {
    let (mut bytes, _, _) = segment();
    let dir = tempdir();
    let path = dir.path().join("000000000001.tlog");
    write_old(&path, &bytes);
    assert_eq!(check(dir.path()).0, Outcome::Done);
    for at in (0..bytes.len()).step_by(7) {
        bytes[at] ^= 0x40;
        write_old(&path, &bytes);
        bytes[at] ^= 0x40;
        let (outcome, said) = check(dir.path());
        assert_eq!(outcome, Outcome::Faulty, "byte {at}: {said}");
    }
}

#[test]
fn a_segment_cut_anywhere_keeps_what_is_before_and_is_repaired() {
    let (bytes, records, ends) = segment();
    let dir = tempdir();
    let path = dir.path().join("000000000001.tlog");
    for cut in 1..bytes.len() {
        let whole_blocks = ends.iter().filter(|&&end| end <= cut).count();
        let sound_until = if whole_blocks == 0 { 0 } else { ends[whole_blocks - 1] };
        let kept = whole_blocks.saturating_sub(1) * RECORDS_A_BLOCK as usize;
        write_old(&path, &bytes[..cut]);
        assert_eq!(read(&bytes[..cut]), records[..kept], "cut at {cut}");
        let torn = sound_until < cut;
        if cut % 5 == 0 {
            let expected = if torn { Outcome::Faulty } else { Outcome::Done };
            assert_eq!(check(dir.path()).0, expected, "cut at {cut}");
        }
        let recovery = recover(dir.path()).unwrap();
        assert_eq!(recovery.next_records, 2);
        let cuts: Vec<_> = recovery.cuts.iter().map(|cut| (cut.offset, cut.bytes)).collect();
        let expected = (sound_until as u64, (cut - sound_until) as u64);
        assert_eq!(cuts, if torn { vec![expected] } else { vec![] }, "cut at {cut}");
        if whole_blocks == 0 {
            assert!(!path.exists(), "nothing sound is in it");
            continue;
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), sound_until as u64);
        if cut % 5 == 0 {
            let (outcome, said) = check(dir.path());
            assert_eq!(outcome, Outcome::Done, "cut at {cut}: {said}");
        }
    }
}

#[test]
fn what_a_torn_block_held_is_told() {
    let (bytes, _, ends) = segment();
    let dir = tempdir();
    fs::write(dir.path().join("000000000001.tlog"), &bytes[..ends[2] - 1]).unwrap();
    let recovery = recover(dir.path()).unwrap();
    assert_eq!(recovery.cuts[0].records, RECORDS_A_BLOCK);
    let said = recovery.cuts[0].to_string();
    assert!(said.contains("stopped in the middle of a write"), "{said}");
    assert!(said.contains(&format!("at offset {}", ends[1])), "{said}");
}

#[test]
fn zeros_behind_the_end_as_after_power_loss_are_cut() {
    let (bytes, records, ends) = segment();
    let dir = tempdir();
    let path = dir.path().join("000000000007.tlog");
    let mut torn = bytes[..ends[3]].to_vec();
    torn.resize(torn.len() + 100_000, 0);
    fs::write(&path, &torn).unwrap();
    let recovery = recover(dir.path()).unwrap();
    assert_eq!(recovery.next_records, 8);
    assert_eq!(recovery.cuts[0].bytes, 100_000);
    assert_eq!(read(&fs::read(&path).unwrap()), records[..6]);
}

#[test]
fn damage_in_the_middle_is_not_cut() {
    let (mut bytes, records, ends) = segment();
    let dir = tempdir();
    let path = dir.path().join("000000000001.tlog");
    bytes[ends[1] + 60] ^= 1;
    bytes.truncate(ends[3]);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(recover(dir.path()).unwrap().cuts, vec![]);
    assert_eq!(fs::read(&path).unwrap(), bytes);
    let (outcome, said) = check(dir.path());
    assert_eq!(outcome, Outcome::Faulty);
    assert!(said.contains(&format!("at {}: damaged", ends[1])), "{said}");
    assert!(said.contains("process 000000000000feed core 0: records 3 to 4 are missing"), "{said}");
    let (_, listed) = run_dump(dir.path(), |args| args.json = true).unwrap();
    assert_eq!(listed.lines().count(), records.len() - 2);
}
