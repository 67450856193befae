//! Waiting for whichever comes first, without a library: two futures, the first one wins ties.
//!
//! Futures are taken pinned: an `async fn` would hold each of them twice, as its argument and where it pins it, and
//! waits within waits then double at each level.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

/// Which of two came first.
#[derive(Debug)]
pub enum First<A, B> {
    /// The left one.
    Left(A),
    /// The right one.
    Right(B),
}

/// Runs all until all are ready; what they made is in their order.
pub async fn all<T>(futures: Vec<Pin<Box<dyn Future<Output = T> + '_>>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Some(future), None)).collect();
    poll_fn(|cx| {
        let mut ready = true;
        for (future, made) in &mut running {
            if let Some(pending) = future {
                match pending.as_mut().poll(cx) {
                    Poll::Ready(value) => (*future, *made) = (None, Some(value)),
                    Poll::Pending => ready = false,
                }
            }
        }
        if ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, made)| made).collect()
}

/// Runs both until one is ready; the other is dropped.
pub fn race<A, B>(
    mut left: impl Future<Output = A> + Unpin,
    mut right: impl Future<Output = B> + Unpin,
) -> impl Future<Output = First<A, B>> + Unpin {
    poll_fn(move |cx| {
        if let Poll::Ready(value) = Pin::new(&mut left).poll(cx) {
            return Poll::Ready(First::Left(value));
        }
        Pin::new(&mut right).poll(cx).map(First::Right)
    })
}
