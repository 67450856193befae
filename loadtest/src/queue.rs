//! Hands requests that are due to connections that are free, in turn, and keeps those that must wait. Belongs to one
//! thread.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use crate::schedule::Arrival;

/// The requests of one side and the connections that take them.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<Arrival>,
    /// Seats without work, longest idle first: all connections are used in turn.
    idle: VecDeque<usize>,
    seats: Vec<Seat>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Seat {
    handed: Option<Arrival>,
    waker: Option<Waker>,
    is_idle: bool,
}

impl Queue {
    /// A queue with so many connections.
    #[must_use]
    pub fn new(connections: usize) -> Queue {
        let seats = (0..connections).map(|_| Seat::default()).collect();
        Queue { seats, ..Queue::default() }
    }

    /// Gives a request to a free connection, or has it wait; how many wait then.
    pub fn put(&mut self, arrival: Arrival) -> usize {
        match self.idle.pop_front().and_then(|number| self.seats.get_mut(number)) {
            Some(seat) => {
                seat.is_idle = false;
                seat.handed = Some(arrival);
                if let Some(waker) = seat.waker.take() {
                    waker.wake();
                }
            }
            None => self.waiting.push_back(arrival),
        }
        self.waiting.len()
    }

    /// The next request of a connection; `None`: there are no more.
    pub fn poll_next(&mut self, number: usize, cx: &Context<'_>) -> Poll<Option<Arrival>> {
        let Some(seat) = self.seats.get_mut(number) else { return Poll::Ready(None) };
        if let Some(arrival) = seat.handed.take().or_else(|| self.waiting.pop_front()) {
            return Poll::Ready(Some(arrival));
        }
        if self.closed {
            return Poll::Ready(None);
        }
        if !seat.is_idle {
            seat.is_idle = true;
            self.idle.push_back(number);
        }
        seat.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Says that no more requests come. Those that wait are still handed out.
    pub fn close(&mut self) {
        self.closed = true;
        self.seats.iter_mut().filter_map(|seat| seat.waker.take()).for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(at: u64) -> Arrival {
        Arrival { at, side: 0, request: 0 }
    }

    fn next(queue: &mut Queue, number: usize) -> Poll<Option<u64>> {
        let cx = Context::from_waker(Waker::noop());
        queue.poll_next(number, &cx).map(|next| next.map(|arrival| arrival.at))
    }

    #[test]
    fn connections_take_turns() {
        let mut queue = Queue::new(2);
        assert!(next(&mut queue, 1).is_pending() && next(&mut queue, 0).is_pending());
        assert_eq!((queue.put(arrival(5)), queue.put(arrival(6))), (0, 0));
        assert_eq!(next(&mut queue, 0), Poll::Ready(Some(6)));
        assert_eq!(next(&mut queue, 1), Poll::Ready(Some(5)));
    }

    #[test]
    fn requests_wait_in_order_when_all_connections_are_busy() {
        let mut queue = Queue::new(1);
        assert_eq!((queue.put(arrival(1)), queue.put(arrival(2))), (1, 2));
        assert_eq!(next(&mut queue, 0), Poll::Ready(Some(1)));
        queue.close();
        assert_eq!(next(&mut queue, 0), Poll::Ready(Some(2)));
        assert_eq!(next(&mut queue, 0), Poll::Ready(None));
    }

    #[test]
    fn waking_a_connection_for_nothing_does_not_seat_it_twice() {
        let mut queue = Queue::new(1);
        assert!(next(&mut queue, 0).is_pending() && next(&mut queue, 0).is_pending());
        queue.put(arrival(1));
        assert_eq!(queue.put(arrival(2)), 1);
    }
}
