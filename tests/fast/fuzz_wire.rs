//! Seeded noise for the readers of bodies and streams: whatever comes in, nothing panics, and a body or stream reads
//! the same however it is cut.

use bytes::Bytes;
use serde_json::{Map, Value};
use trunkline::wire::json::{Edit, JsonErrorKind, scan, splice};

use crate::json::text::{JsonText, NAMES};
use crate::json::{Tapped, tap_in_pieces};
use crate::sse::{events_in_pieces, stream_text};

/// A few thousand cases here; a soak run takes millions.
#[test]
fn noise_is_read_the_same_however_it_is_cut() {
    run(0x5eed, 1_500);
}

/// More of it, for a soak: `FUZZ_SEED=1 FUZZ_ITERATIONS=1000000 cargo test --release --test fast more_noise --
/// --ignored`.
#[test]
#[ignore = "takes as long as it is told to"]
fn more_noise_is_read_the_same_however_it_is_cut() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    run(number("FUZZ_SEED", 1), number("FUZZ_ITERATIONS", 1_000_000));
}

/// Feeds `iterations` mutated bodies and streams to the readers. A failure names the seed of its case, which alone
/// is enough to see it again: `run(seed, 1)`.
pub fn run(seed: u64, iterations: u64) {
    for case in seed..seed.saturating_add(iterations) {
        let mut dice = Dice::new(case);
        let body = JsonText::object(&mut dice);
        let body = mutate(body.into_bytes(), &mut dice);
        check_body(case, &body, &mut dice);
        let stream = mutate(stream_text(&mut dice), &mut dice);
        check_stream(case, &stream, &mut dice);
    }
}

fn check_body(case: u64, body: &[u8], dice: &mut Dice) {
    let context = || format!("seed {case}: {}", body.escape_ascii());
    let pieces = cuts(body, dice);
    let tap = tap_in_pieces(&pieces);
    let whole = tap_in_pieces(&[body]);
    assert_eq!(captured(&tap), captured(&whole), "{}", context());
    let fields = match scan(body) {
        Ok(fields) => fields,
        Err(error) => {
            assert!(error.at <= body.len() && !error.message().is_empty(), "{}", context());
            let full = serde_json::from_slice::<Map<String, Value>>(body);
            assert!(full.is_err() || refused_for_safety(error.kind), "{error}, {}", context());
            return;
        }
    };
    assert!(whole.complete(), "{}", context());
    for name in NAMES {
        assert_eq!(whole.value(name), fields.value(body, name), "{name}, {}", context());
    }
    let name = dice.pick(NAMES);
    let edits = [
        Edit::Rename { from: dice.pick(NAMES), to: dice.pick(NAMES) },
        Edit::Remove { name: dice.pick(NAMES) },
        Edit::Set { name, raw_json: b"[1]" },
    ];
    let spliced = splice(&Bytes::copy_from_slice(body), &fields, &edits).pieces.concat();
    let fields = scan(&spliced).unwrap_or_else(|error| panic!("{error}, {}", context()));
    assert_eq!(fields.value(&spliced, name), Some(&b"[1]"[..]), "{}", context());
}

/// Whether the scanner refuses what a parser would take: a key twice, or too much of something.
fn refused_for_safety(kind: JsonErrorKind) -> bool {
    use JsonErrorKind::{DuplicateKey, KeyTooLong, TooDeep, TooLong, TooManyMembers};
    matches!(kind, DuplicateKey | KeyTooLong | TooDeep | TooLong | TooManyMembers)
}

fn check_stream(case: u64, stream: &[u8], dice: &mut Dice) {
    let pieces = cuts(stream, dice);
    let (cut, whole) = (events_in_pieces(&pieces), events_in_pieces(&[stream]));
    assert_eq!(cut, whole, "seed {case}: {}", stream.escape_ascii());
}

type Captured = Vec<Option<Vec<u8>>>;

fn captured(tap: &Tapped) -> (Captured, bool) {
    let values = NAMES.iter().map(|name| tap.value(name).map(<[u8]>::to_vec)).collect();
    (values, tap.complete())
}

fn cuts<'a>(bytes: &'a [u8], dice: &mut Dice) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let longest = dice.pick(&[1, 3, 20, 70, 400]);
        let (piece, behind) = rest.split_at(dice.below(longest + 1).min(rest.len()));
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

fn mutate(mut bytes: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    for _ in 0..dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        match dice.below(5) {
            0 if at < bytes.len() => bytes[at] = dice.next() as u8,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => {
                let from = dice.below(at + 1);
                let again = bytes[from..at].to_vec();
                bytes.splice(at..at, again);
            }
            _ => {
                let token = dice.pick(TOKENS);
                bytes.splice(at..at, token.iter().copied());
            }
        }
    }
    bytes
}

const TOKENS: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"-",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"data:",
    b"data: ",
    b"event:",
    b": ",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\"a\":1,",
    b"//",
    b"'",
    b"\0",
];

/// Deterministic dice (splitmix64).
pub struct Dice(u64);

impl Dice {
    /// The same throws for the same seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number under `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
