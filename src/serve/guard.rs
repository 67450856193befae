//! Catches a panic of one future, so that a bug costs one exchange and not a core: monoio itself does not.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
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

/// Runs `work`; a panic in it is `Err`: the place in the source.
pub async fn guard<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = pin!(work);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(_) => {
            let place = PLACE.with_borrow_mut(Option::take);
            Poll::Ready(Err(place.unwrap_or_else(|| "an unknown place".into())))
        }
    })
    .await
}
