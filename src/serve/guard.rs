//! Catches a panic of one future, so that a bug costs one exchange and not a core.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
};

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers the place of a panic for `guard`, and says it once on stderr. Call it once, at start.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "unknown".into(), ToString::to_string);
        let text = info.payload_as_str().unwrap_or("no message");
        eprintln!("trunkline: bug at {place}: {text}; please report it");
        PLACE.with_borrow_mut(|held| *held = Some(place));
    }));
}

/// Runs `work`, which is taken pinned; a panic in it is `Err`: the place in the source.
pub fn guard<T>(
    mut work: impl Future<Output = T> + Unpin,
) -> impl Future<Output = Result<T, String>> + Unpin {
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut work).poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => {
            let place = PLACE.with_borrow_mut(Option::take);
            Poll::Ready(Err(place.unwrap_or_else(|| "an unknown place".into())))
        }
    })
}
