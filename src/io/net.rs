//! The seam between the gateway and the machine. `serve/`, `sandbox/` and the load tester are generic over
//! [`Net`]; `io/kernel.rs` is the real one, `tests/fast/world.rs` the simulated one.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    task::{Context, Poll},
};

use bytes::BytesMut;

use super::buffer::WriteList;
use crate::base::units::{Instant, UnixTime};

/// What one core may do with the world.
pub trait Net: Clone + 'static {
    /// The receiving half of a connection.
    type Reader: Reader;
    /// The sending half of a connection.
    type Writer: Writer;

    /// The monotonic clock.
    fn now(&self) -> Instant;
    /// Civil time.
    fn unix_now(&self) -> UnixTime;
    /// 64 random bits.
    fn random(&self) -> u64;
    /// Waits. May be dropped at any time.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()>;
    /// Connects to one address. May be dropped at any time without leaking the socket.
    fn connect(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<(Self::Reader, Self::Writer)>>;
    /// All addresses of a name or of an address literal, in the order to try them. Never blocks the core.
    fn resolve(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Vec<SocketAddr>>>;
    /// Runs a task on this core.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
    /// What the task that runs now will look at when it is woken, beside its own future: `extents`, and the first
    /// `kept` of what was said before. A hint: it may be fetched before that.
    fn expect(&self, _kept: usize, _extents: &[Extent]) {}
}

/// Where something lies in memory. A hint: it is not followed, and what was there may be gone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extent {
    address: usize,
    bytes: usize,
}

impl Extent {
    /// That of a value, without what it points to.
    pub fn of<T: ?Sized>(value: &T) -> Extent {
        Extent { address: std::ptr::from_ref(value).addr(), bytes: size_of_val(value) }
    }

    /// Where its cache lines begin.
    pub fn lines(self) -> impl Iterator<Item = usize> {
        const LINE_BYTES: usize = 64;
        let first = self.address & !(LINE_BYTES - 1);
        let lines = match self.bytes {
            0 => 0,
            bytes => (self.address + bytes - first).div_ceil(LINE_BYTES),
        };
        (0..lines).map(move |line| first + line * LINE_BYTES)
    }
}

/// The receiving half of a connection.
pub trait Reader: 'static {
    /// Puts what has come behind what is in `buffer`, making room for it. `Ok(0)`: the peer will send no more. An empty
    /// buffer may be taken away, or another one be put in its place; one with room for much is filled where it is. What
    /// has come and was not asked for stays: a wait may be given up at any time.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut)
    -> Poll<io::Result<usize>>;

    /// Waits for more bytes. If the future is dropped before it is ready, what was in the buffer is gone.
    fn read(
        &mut self,
        mut buffer: BytesMut,
    ) -> impl Future<Output = (io::Result<usize>, BytesMut)> {
        async move {
            let result = poll_fn(|cx| self.poll_read(cx, &mut buffer)).await;
            (result, buffer)
        }
    }
}

/// The sending half of a connection. Dropping both halves closes the connection.
pub trait Writer: 'static {
    /// Writes everything in `list`, in order; ready, the list is empty. Called until then with the same list, or never
    /// again.
    fn poll_write(&mut self, cx: &mut Context<'_>, list: &mut WriteList) -> Poll<io::Result<()>>;

    /// Sends a FIN: no more will be written. Called until it is ready.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Writes everything in `list` and hands it back empty. If the future is dropped before it is ready, the connection
    /// must be dropped too.
    fn write(&mut self, mut list: WriteList) -> impl Future<Output = (io::Result<()>, WriteList)> {
        async move {
            let result = poll_fn(|cx| self.poll_write(cx, &mut list)).await;
            (result, list)
        }
    }

    /// See [`Writer::poll_shutdown`].
    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> {
        poll_fn(|cx| self.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_an_extent_are_those_that_it_touches() {
        let lines = |address, bytes| Extent { address, bytes }.lines().collect::<Vec<_>>();
        assert_eq!(lines(128, 64), [128]);
        assert_eq!(lines(130, 1), [128]);
        assert_eq!(lines(190, 4), [128, 192]);
        assert_eq!(lines(130, 0), [0; 0]);
    }
}
