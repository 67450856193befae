//! The programs' allocator with a count around it: how often memory is asked for, how much of it, and on demand where.

#![expect(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one hands everything to mimalloc"
)]

use std::{
    alloc::{GlobalAlloc, Layout},
    backtrace::Backtrace,
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use mimalloc::MiMalloc;

/// Counts what the thread asks for.
pub struct Counting;

/// Memory asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// How often.
    pub times: u64,
    /// How much, in bytes.
    pub bytes: u64,
}

thread_local! {
    static ASKED: Cell<Asked> = const { Cell::new(Asked { times: 0, bytes: 0 }) };
    static SITES: RefCell<Option<BTreeMap<String, Asked>>> = const { RefCell::new(None) };
}

/// What this thread asked for while `work` ran.
pub fn during(work: impl FnOnce()) -> Asked {
    let before = ASKED.get();
    work();
    let after = ASKED.get();
    Asked { times: after.times - before.times, bytes: after.bytes - before.bytes }
}

/// Prints where this thread asked for memory while `work` ran, most bytes first.
pub fn print_sites(work: impl FnOnce()) {
    SITES.with(|sites| *sites.borrow_mut() = Some(BTreeMap::new()));
    work();
    let sites = SITES.with(|sites| sites.borrow_mut().take()).unwrap_or_default();
    let mut rows: Vec<_> = sites.into_iter().collect();
    rows.sort_by_key(|(_, asked)| std::cmp::Reverse(asked.bytes));
    for (site, Asked { times, bytes }) in rows {
        println!("{times:>4} times {bytes:>7} bytes  {site}");
    }
}

// SAFETY: every call is handed on unchanged to an allocator that keeps the trait's promises.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }
}

fn note(size: usize) {
    // A thread that ends may allocate when its own values are gone already: nobody counts that.
    let _ = ASKED.try_with(|asked| {
        let Asked { times, bytes } = asked.get();
        asked.set(Asked { times: times + 1, bytes: bytes + size as u64 });
    });
    let _ = SITES.try_with(|sites| {
        // What the list itself allocates finds it taken.
        let Ok(mut taken) = sites.try_borrow_mut() else { return };
        let Some(mut known) = taken.take() else { return };
        let site = site();
        let asked = known.entry(site).or_default();
        asked.times += 1;
        asked.bytes += size as u64;
        *taken = Some(known);
    });
}

/// The innermost functions of Trunkline's on the way here, the innermost first.
fn site() -> String {
    let trace = Backtrace::force_capture().to_string();
    let mut names = Vec::new();
    let mut lines = trace.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        let Some((_, name)) = line.split_once(": ") else { continue };
        let place = lines.peek().and_then(|next| next.strip_prefix("at ")).unwrap_or_default();
        let ours = place.contains("/src/")
            && !place.contains("/registry/")
            && !place.contains("/rustc/")
            && !place.contains("rustlib");
        if ours && !name.contains("Counting") {
            let file = place.rsplit_once("src/").map_or(place, |(_, file)| file);
            let line = file.rsplit_once(':').map_or(file, |(line, _)| line);
            names.push(line.to_owned());
        }
        if names.len() == FRAMES_SHOWN {
            break;
        }
    }
    names.join(" < ")
}

const FRAMES_SHOWN: usize = 3;
