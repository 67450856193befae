//! Exchanges in memory without a harness around them, for callgrind: `steady plain COUNT`, `steady stream COUNT EVENTS`.
//! `benches/instructions` runs it and says what an exchange costs. Without arguments it runs a moment, as a test.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use trunkline_benches::memory::rig::Rig;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let number = |at: usize, otherwise| {
        words.get(at).and_then(|word| word.parse().ok()).unwrap_or(otherwise)
    };
    let count = number(1, 100);
    let events = number(2, 10);
    let mut rig = Rig::warm();
    let before = rig.calls();
    for done in 0..count {
        match words.first().map(String::as_str) {
            Some("stream") => rig.streamed(events),
            _ => rig.plain(),
        }
        if done % EXCHANGES_A_SETTLEMENT == 0 {
            rig.settle();
        }
    }
    println!("{count} exchanges; asked of the machine: {:?}", rig.calls().since(before));
}

const EXCHANGES_A_SETTLEMENT: usize = 1000;
