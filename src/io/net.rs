//! The seam between the gateway and the machine. `serve/`, `sandbox/` and the load tester are generic over
//! [`Net`]; `io/uring.rs` is the real one, `tests/fast/world.rs` the simulated one. Buffers are owned: they move
//! into a call and come back with its result.

use std::{future::Future, io, net::SocketAddr};

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
}

/// The receiving half of a connection.
pub trait Reader: 'static {
    /// Reads into the spare capacity of `buffer`, which must not be empty: appends, never overwrites. `Ok(0)`: the
    /// peer will send no more. If the future is dropped before it is ready, the connection must be dropped too.
    fn read(&mut self, buffer: BytesMut) -> impl Future<Output = (io::Result<usize>, BytesMut)>;
}

/// The sending half of a connection. Dropping both halves closes the connection.
pub trait Writer: 'static {
    /// Writes everything in `list`, in order, and hands the emptied list back. If the future is dropped before it
    /// is ready, the connection must be dropped too.
    fn write(&mut self, list: WriteList) -> impl Future<Output = (io::Result<()>, WriteList)>;
    /// Sends a FIN: no more will be written.
    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>>;
}
