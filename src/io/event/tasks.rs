//! The tasks of one core: boxed futures in a table, and the queue of those that were woken.
//!
//! A waker is the number of its task and nothing else, so that to clone or drop one costs nothing: no count is kept.
//! The number says which use of a place in the table is meant; a waker that outlives its task wakes nobody.
//!
//! What a task will look at is fetched into the processor's cache while the one before it is polled: of many
//! connections none is warm, and an event of one of 500 streams took a tenth more CPU without.
#![expect(unsafe_code, reason = "Waker::new takes an untyped pointer; here it carries a number")]

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    pin::Pin,
    ptr,
    task::{Context, Poll, RawWakerVTable, Waker},
};

use slotmap::{DefaultKey, Key, KeyData, SlotMap};

use crate::{base::limits, io::net::Extent};

/// Which task; what a waker carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskId(u64);

impl TaskId {
    /// The future that the loop was started for. It is in no table.
    pub const MAIN: TaskId = TaskId(u64::MAX);

    /// Its place in the table of the queued.
    fn place(self) -> usize {
        match self {
            TaskId::MAIN => 0,
            TaskId(id) => (id & u64::from(u32::MAX)) as usize,
        }
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// All tasks of a core but the main one.
#[derive(Default)]
pub struct Tasks {
    table: RefCell<SlotMap<DefaultKey, Place>>,
    /// Which of them is polled.
    current: Cell<DefaultKey>,
}

/// One task.
struct Place {
    /// `None` while it is polled: it may spawn others meanwhile.
    task: Option<Task>,
    /// What else than the future itself it will look at.
    expected: [Extent; limits::EXPECTED_EXTENTS],
}

impl Tasks {
    /// Adds a task; it is polled first in the turn to come.
    pub fn spawn(&self, task: Task) {
        let place =
            Place { task: Some(task), expected: [Extent::default(); limits::EXPECTED_EXTENTS] };
        let key = self.table.borrow_mut().insert(place);
        wake(TaskId(key.data().as_ffi()));
    }

    /// Polls a task, unless it has ended.
    pub fn poll(&self, id: TaskId) {
        let key = DefaultKey::from(KeyData::from_ffi(id.0));
        let taken = self.table.borrow_mut().get_mut(key).and_then(|place| place.task.take());
        let Some(mut task) = taken else { return };
        self.current.set(key);
        self.fetch_next();
        let waker = waker(id);
        let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
        let ended = {
            let mut table = self.table.borrow_mut();
            match (polled, table.get_mut(key)) {
                (Poll::Pending, Some(place)) => {
                    place.task = Some(task);
                    None
                }
                _ => {
                    table.remove(key);
                    Some(task)
                }
            }
        };
        // Dropped with the table free: what it held may wake or spawn others.
        drop(ended);
    }

    /// What the task that is polled will look at when it is polled again, beside its own future: `extents`, and the
    /// first `kept` of what was said before. There is room for [`limits::EXPECTED_EXTENTS`].
    pub fn expect(&self, kept: usize, extents: &[Extent]) {
        if let Some(place) = self.table.borrow_mut().get_mut(self.current.get()) {
            let mut extents = extents.iter().copied();
            let behind = place.expected.iter_mut().skip(kept);
            behind.for_each(|place| *place = extents.next().unwrap_or_default());
        }
    }

    /// Has what the next task will look at fetched from memory.
    pub fn fetch_next(&self) {
        let Some(TaskId(id)) = QUEUE.with_borrow(|queue| queue.woken.front().copied()) else {
            return;
        };
        let table = self.table.borrow();
        let Some(place) = table.get(KeyData::from_ffi(id).into()) else { return };
        if let Some(task) = &place.task {
            fetch(Extent::of(&**task));
            place.expected.iter().for_each(|extent| fetch(*extent));
        }
    }

    /// Drops all of them.
    pub fn clear(&self) {
        let all = std::mem::take(&mut *self.table.borrow_mut());
        drop(all);
    }
}

/// The tasks of this thread that were woken, in that order.
#[derive(Default)]
struct Queue {
    woken: VecDeque<TaskId>,
    /// At each place of the table, which task of that place is in the queue.
    queued: Vec<Option<TaskId>>,
}

/// Has a piece of memory brought into the cache, if it is memory; nothing waits for it. Only x86-64 has the instruction
/// in stable Rust.
fn fetch(extent: Extent) {
    for line in extent.lines() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch reads nothing that a program can see, and faults at no address.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(ptr::without_provenance(line));
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
}

thread_local! {
    static QUEUE: RefCell<Queue> = RefCell::default();
}

/// Puts a task at the end of this thread's queue, unless it is there.
fn wake(id: TaskId) {
    QUEUE.with_borrow_mut(|queue| {
        let place = id.place();
        if queue.queued.len() <= place {
            queue.queued.resize(place + 1, None);
        }
        if queue.queued[place] != Some(id) {
            queue.queued[place] = Some(id);
            queue.woken.push_back(id);
        }
    });
}

/// The next task that was woken.
pub fn next_woken() -> Option<TaskId> {
    QUEUE.with_borrow_mut(|queue| {
        let id = queue.woken.pop_front()?;
        let queued = &mut queue.queued[id.place()];
        if *queued == Some(id) {
            *queued = None;
        }
        Some(id)
    })
}

/// Whether any task waits for its turn.
pub fn any_woken() -> bool {
    QUEUE.with_borrow(|queue| !queue.woken.is_empty())
}

/// Forgets who was woken: the loop of this thread has ended.
pub fn forget_woken() {
    QUEUE.with_borrow_mut(|queue| *queue = Queue::default());
}

/// The waker of a task of this thread.
pub fn waker(id: TaskId) -> Waker {
    // SAFETY: the pointer is a number that is never followed, and each function of the table takes it as one. None of
    // them touches anything but this thread's own queue, so they may be called from any thread: on another one the
    // number names at most a task of that thread, which is then polled once in vain.
    unsafe { Waker::new(ptr::without_provenance(id.0 as usize), &NUMBER) }
}

const _: () = assert!(size_of::<usize>() >= size_of::<u64>(), "a waker carries 64 bits");

static NUMBER: RawWakerVTable = RawWakerVTable::new(
    |data| std::task::RawWaker::new(data, &NUMBER),
    |data| wake(TaskId(data as usize as u64)),
    |data| wake(TaskId(data as usize as u64)),
    |_| {},
);

#[cfg(test)]
mod tests {
    use std::{cell::Cell, future::poll_fn, rc::Rc};

    use super::*;

    #[test]
    fn a_task_that_is_woken_twice_is_polled_once() {
        let (tasks, polls) = (Tasks::default(), Rc::new(Cell::new(0)));
        let counted = Rc::clone(&polls);
        tasks.spawn(Box::pin(poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            if counted.get() == 1 {
                cx.waker().wake_by_ref();
                let another = cx.waker().clone();
                another.wake();
                return Poll::Pending;
            }
            Poll::Ready(())
        })));
        while let Some(id) = next_woken() {
            tasks.poll(id);
        }
        assert_eq!(polls.get(), 2);
    }

    #[test]
    fn a_waker_that_outlives_its_task_does_not_touch_the_next_one_there() {
        let tasks = Tasks::default();
        let kept = Rc::new(RefCell::new(None));
        let keep = Rc::clone(&kept);
        tasks.spawn(Box::pin(poll_fn(move |cx| {
            *keep.borrow_mut() = Some(cx.waker().clone());
            Poll::Ready(())
        })));
        while let Some(id) = next_woken() {
            tasks.poll(id);
        }
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        tasks.spawn(Box::pin(poll_fn(move |_| {
            counted.set(counted.get() + 1);
            Poll::Pending
        })));
        kept.take().unwrap().wake();
        while let Some(id) = next_woken() {
            tasks.poll(id);
        }
        assert_eq!(polls.get(), 1, "woken by its own birth alone");
    }
}
