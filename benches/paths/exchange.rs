//! A whole exchange in memory: the real path of a request, from the client's bytes to its answer and its record.

use std::cell::RefCell;

use trunkline_benches::memory::rig::Rig;

use crate::{Bench, alloc::print_sites};

/// All of them.
pub fn all(bench: &mut Bench) {
    let rig = RefCell::new(Settling { rig: Rig::warm(), exchanges: 0 });
    bench.add("exchange, plain", 0, || rig.borrow_mut().run(Rig::plain));
    bench.add("exchange, stream of 10 events", 0, || {
        rig.borrow_mut().run(|rig| rig.streamed(10));
    });
    bench.add("exchange, stream of 110 events", 0, || {
        rig.borrow_mut().run(|rig| rig.streamed(110));
    });
}

/// Prints where memory is asked for.
pub fn sites() {
    let mut rig = Rig::warm();
    println!("one plain exchange:");
    print_sites(|| rig.plain());
    println!("\none streamed exchange of 10 events:");
    print_sites(|| rig.streamed(10));
}

/// A rig whose log queue is emptied before it is full.
struct Settling {
    rig: Rig,
    exchanges: usize,
}

impl Settling {
    fn run(&mut self, work: impl FnOnce(&mut Rig)) {
        work(&mut self.rig);
        self.exchanges += 1;
        if self.exchanges.is_multiple_of(EXCHANGES_A_SETTLEMENT) {
            self.rig.settle();
        }
    }
}

/// Far less than the queue holds, and more than the rounds that are counted.
const EXCHANGES_A_SETTLEMENT: usize = 4096;
