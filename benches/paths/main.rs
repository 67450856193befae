//! What each step of a request costs, in time and in memory asked for: `cargo bench -p trunkline-benches --bench paths`.
//!
//! `-- --sites` prints instead where one exchange in memory asks for memory, and `-- --counts` the table of counts
//! alone. Without `--bench`, as `cargo test` calls it, each runs once, to prove that it still works.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

mod alloc;
mod cpu;
mod exchange;
mod policy;
mod record;
mod wire;

use std::hint::black_box;

use alloc::{Asked, Counting, during};
use cpu::CpuTime;
use criterion::{BatchSize, Criterion, Throughput};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Takes one benchmark after the other, times it, and remembers what it asked for.
pub struct Bench {
    /// `None`: only the counts are wanted.
    criterion: Option<Criterion<CpuTime>>,
    rows: Vec<(&'static str, Asked)>,
}

fn main() {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    if has("--sites") {
        exchange::sites();
        return;
    }
    let timed = || Criterion::default().with_measurement(CpuTime).configure_from_args();
    let criterion = (!has("--counts")).then(timed);
    let mut bench = Bench { criterion, rows: Vec::new() };
    wire::all(&mut bench);
    policy::all(&mut bench);
    record::all(&mut bench);
    exchange::all(&mut bench);
    bench.print();
    if let Some(criterion) = bench.criterion {
        criterion.final_summary();
    }
}

impl Bench {
    /// One benchmark: `work` on input of so many bytes, 0 if that says nothing.
    fn add<T>(&mut self, name: &'static str, bytes: usize, mut work: impl FnMut() -> T) {
        drop(black_box(work()));
        let rounds = if cfg!(debug_assertions) { 1 } else { ROUNDS_COUNTED };
        let asked = during(|| (0..rounds).for_each(|_| drop(black_box(work()))));
        self.rows.push((name, Asked { times: asked.times / rounds, bytes: asked.bytes / rounds }));
        let Some(criterion) = &mut self.criterion else { return };
        let mut group = criterion.benchmark_group(name);
        if bytes > 0 {
            group.throughput(Throughput::Bytes(bytes as u64));
        }
        group.bench_function("time", |bencher| {
            bencher.iter_batched(|| (), |()| work(), BatchSize::SmallInput);
        });
        group.finish();
    }

    fn print(&self) {
        println!("\n| step | allocations | bytes |\n|---|---|---|");
        for (name, Asked { times, bytes }) in &self.rows {
            println!("| {name} | {times} | {bytes} |");
        }
    }
}

/// Enough that what happens once in a while, such as a new page of the log, does not show.
const ROUNDS_COUNTED: u64 = 1000;
