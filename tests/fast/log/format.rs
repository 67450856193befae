//! Records to bytes and back.

use proptest::{collection::vec, prelude::*};
use trunkline::{
    base::limits,
    wire::record::{
        AttemptRecord, Record, Times, UsageRecord,
        block::{self, BlockHead, BlockKind, Step},
        decode,
        decode::Malformed,
        encode,
        segment::{Body, SegmentEnd, SegmentHead},
    },
};

use super::sample;

fn encoded(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    record.lend(|record| encode(record, &mut bytes));
    bytes
}

prop_compose! {
    fn times()(n in any::<[u64; 9]>()) -> Times {
        Times { head: n[0], body: n[1], planned: n[2], connected: n[3], sent: n[4], first_byte: n[5],
            first_token: n[6], last_byte: n[7], flushed: n[8] }
    }
}

prop_compose! {
    fn usage()(n in any::<[u64; 8]>(), estimated in any::<bool>()) -> UsageRecord {
        UsageRecord { input: n[0], cache_read: n[1], cache_write_5m: n[2], cache_write_1h: n[3], audio_in: n[4],
            output: n[5], reasoning: n[6], audio_out: n[7], estimated }
    }
}

prop_compose! {
    fn attempt()(texts in vec(".{0,20}", 8), status in any::<u16>(), n in any::<[u64; 2]>()) -> AttemptRecord {
        AttemptRecord { target: texts[0].clone(), provider: texts[1].clone(), virtual_key: texts[2].clone(),
            model: texts[3].clone(), status, started: n[0], ended: n[1], left: texts[4].clone(),
            detail: texts[5].clone(), credential: texts[6].clone(),
            role: texts[7].clone() }
    }
}

prop_compose! {
    fn lists()(
        metadata in vec((".{0,10}", ".{0,10}"), 0..4), dropped in vec(".{0,9}", 0..3), conditions in vec(".{0,9}", 0..3),
        breakers in vec(".{0,9}", 0..3), balance in vec((".{0,9}", any::<u64>()), 0..3),
        attempts in vec(attempt(), 0..4), guardrails in vec(".{0,9}", 0..3),
    ) -> Record {
        Record { metadata, dropped_params: dropped, conditions, open_breakers: breakers, balance, attempts, guardrails,
            ..Record::default() }
    }
}

prop_compose! {
    fn record()(
        lists in lists(), texts in vec(".{0,24}", 17), n in any::<[u64; 8]>(), request_id in any::<u128>(),
        core in any::<u16>(), status in any::<u16>(), times in times(), usage in proptest::option::of(usage()),
        cost in any::<Option<u64>>(), flags in any::<[bool; 5]>(),
    ) -> Record {
        let text = |index: usize| texts[index].clone();
        Record {
            core, sequence: n[0], process: n[1], request_id, accepted_unix_nanos: n[2], times, api_key: text(0),
            config: text(1), epoch: n[3], seed: n[4], dialect: text(2), method: text(3), path: text(4),
            requested_model: text(5), served_model: text(6), provider: text(7), virtual_key: text(8), status,
            error_source: text(9), error_kind: text(10), error_message: text(11), cache_status: text(12), usage,
            cost_pico_usd: cost, cost_status: text(13), price_table: text(14), client_bytes_in: n[5],
            client_bytes_out: n[6], client_address: text(15), trace_id: text(16), omitted: n[7],
            stream: flags[0], truncated: flags[1], client_gone: flags[2], hedged: flags[3],
            mirror: flags[4], ..lists
        }
    }
}

/// The shortest texts are copied in other ways than longer ones, and the longest are cut.
#[test]
fn texts_of_every_length_come_back() {
    let bounds = limits::LOG_TEXT_BYTES_MAX - 3..limits::LOG_TEXT_BYTES_MAX + 3;
    for length in (0..300).chain(bounds) {
        let text: String = ('a'..='z').cycle().take(length).collect();
        let record = Record {
            path: text.clone(),
            metadata: vec![(text.clone(), text.clone())],
            conditions: vec![text.clone()],
            attempts: vec![AttemptRecord { model: text.clone(), ..AttemptRecord::default() }],
            trace_id: "behind it".into(),
            ..Record::default()
        };
        let (read, _) = decode(&encoded(&record)).expect("as written");
        let (key, value) = &read.metadata[0];
        let kept = match length <= limits::LOG_TEXT_BYTES_MAX {
            true => text,
            false => format!("{}…", &text[..limits::LOG_TEXT_BYTES_MAX - "…".len()]),
        };
        for read in [&read.path, key, value, &read.conditions[0], &read.attempts[0].model] {
            assert_eq!(*read, kept);
        }
        assert_eq!(read.trace_id, "behind it");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_record_comes_back(record in record()) {
        let bytes = encoded(&record);
        prop_assert_eq!(decode(&bytes), Ok((record, bytes.len())));
    }

    #[test]
    fn a_cut_record_is_refused(record in record(), at in any::<prop::sample::Index>()) {
        let bytes = encoded(&record);
        prop_assert_eq!(decode(&bytes[..at.index(bytes.len())]), Err(Malformed::Short));
    }

    #[test]
    fn a_changed_record_never_panics(record in record(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = encoded(&record);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
        let _ = decode::decode_body(&bytes);
        let _ = SegmentHead::decode(&bytes);
        let _ = SegmentEnd::decode(&bytes);
        let _ = Body::decode(&bytes);
        let mut rest = &bytes[..];
        while let Step::Skip(length) = block::step(rest, None) {
            prop_assert!(length > 0);
            rest = &rest[length..];
        }
    }
}

#[test]
fn a_newer_versions_additions_are_skipped() {
    let record = sample(1);
    let mut bytes = encoded(&record);
    bytes.extend_from_slice(b"fields of a later version");
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    assert_eq!(decode(&bytes), Ok((record, bytes.len())));
}

#[test]
fn a_record_of_another_layout_is_told_apart_and_can_be_stepped_over() {
    let mut bytes = encoded(&sample(1));
    bytes[4] = 2;
    assert_eq!(decode(&bytes), Err(Malformed::Newer));
    assert_eq!(decode::split(&bytes).map(|(_, taken)| taken), Ok(bytes.len()));
}

#[test]
fn long_texts_are_cut_between_characters_and_marked() {
    let record = Record { path: "ü".repeat(5000), ..Record::default() };
    let (decoded, _) = decode(&encoded(&record)).unwrap();
    assert!(decoded.path.len() <= limits::LOG_TEXT_BYTES_MAX);
    assert!(decoded.path.len() > limits::LOG_TEXT_BYTES_MAX - 4);
    assert!(decoded.path.starts_with("üü") && decoded.path.ends_with("ü…"));
}

#[test]
fn a_record_that_would_be_too_long_says_what_it_left_out() {
    let long = "x".repeat(10_000);
    let attempt = AttemptRecord {
        target: long.clone(),
        provider: long.clone(),
        virtual_key: long.clone(),
        credential: long.clone(),
        model: long.clone(),
        left: long.clone(),
        detail: long.clone(),
        role: long.clone(),
        ..AttemptRecord::default()
    };
    let record = Record {
        error_message: long.clone(),
        metadata: vec![(long.clone(), long); 300],
        attempts: vec![attempt; 300],
        ..Record::default()
    };
    let bytes = encoded(&record);
    assert!(bytes.len() <= limits::LOG_RECORD_BYTES_MAX, "{}", bytes.len());
    let (decoded, _) = decode(&bytes).unwrap();
    let kept = decoded.metadata.len() + decoded.attempts.len();
    assert_eq!(decoded.omitted, 600 - kept as u64);
    assert!(decoded.metadata.len() > 20);
}

#[test]
fn a_typical_record_is_compact() {
    let length = encoded(&sample(1)).len();
    assert!((300..420).contains(&length), "{length}");
}

#[test]
fn blocks_of_another_process_are_not_taken() {
    let head = BlockHead { kind: BlockKind::Records, process: 7, segment: 1, block: 0, entries: 0 };
    let mut bytes = Vec::new();
    block::write(&mut bytes, &head, |out| out.extend_from_slice(b"payload"));
    assert!(
        matches!(block::step(&bytes, None), Step::Block { length, .. } if length == bytes.len())
    );
    assert!(matches!(block::step(&bytes, Some(7)), Step::Block { .. }));
    assert_eq!(block::step(&bytes, Some(8)), Step::Skip(bytes.len()));
}
