//! The record of an exchange. How fast the disk takes them is measured by `benches/log.rs`.

use std::hint::black_box;

use trunkline::{
    io::log::{LogSender, Submitted},
    wire::record::encode,
};
use trunkline_benches::typical::with_typical;

use crate::Bench;

/// All of them.
pub fn all(bench: &mut Bench) {
    let mut out = Vec::with_capacity(4096);
    let mut sequence = 0;
    with_typical(0, 5, 0, |record| encode(record, &mut out));
    bench.add("record encode", out.len(), || {
        sequence += 1;
        out.clear();
        with_typical(0, 5, black_box(sequence), |record| encode(record, &mut out));
        out.len()
    });
    let (mut sender, mut queue) = LogSender::unwritten(0, 5);
    bench.add("record encode and queue", 0, || {
        if !sender.has_room() {
            queue.by_ref().for_each(drop);
        }
        let submitted = sender.submit(|sequence, out| {
            with_typical(0, 5, sequence, |record| encode(record, out));
        });
        assert_eq!(submitted, Submitted::Queued);
    });
}
