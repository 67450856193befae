//! Connections of the machine in memory: two byte queues without a bound. A write is one copy in and a read one copy
//! out, as with a kernel.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use trunkline::io::{
    buffer::WriteList,
    net::{Reader, Writer},
};

use super::Memory;

/// Room that a read makes, as the event loop does.
const READ_BUFFER_BYTES: usize = trunkline::base::limits::READ_BUFFER_BYTES;

/// One direction.
#[derive(Default)]
struct Pipe {
    bytes: Vec<u8>,
    /// Bytes before this one are read.
    read: usize,
    closed: bool,
    reader: Option<Waker>,
}

/// The gateway's receiving half.
pub struct MemoryReader {
    pipe: Rc<RefCell<Pipe>>,
    memory: Memory,
}

/// The gateway's sending half.
pub struct MemoryWriter {
    pipe: Rc<RefCell<Pipe>>,
    memory: Memory,
}

/// The other side of a connection, driven by hand.
pub struct Peer {
    incoming: Rc<RefCell<Pipe>>,
    outgoing: Rc<RefCell<Pipe>>,
}

/// A new connection: the gateway's halves, and the other side.
pub fn connection(memory: &Memory) -> (MemoryReader, MemoryWriter, Peer) {
    let (there, back) = (Rc::<RefCell<Pipe>>::default(), Rc::<RefCell<Pipe>>::default());
    let peer = Peer { incoming: Rc::clone(&there), outgoing: Rc::clone(&back) };
    let reader = MemoryReader { pipe: back, memory: memory.clone() };
    (reader, MemoryWriter { pipe: there, memory: memory.clone() }, peer)
}

impl Peer {
    /// Sends to the gateway.
    pub fn send(&self, bytes: &[u8]) {
        let mut pipe = self.outgoing.borrow_mut();
        pipe.bytes.extend_from_slice(bytes);
        pipe.wake();
    }

    /// Hands over all that the gateway has sent, and forgets it.
    pub fn receive<T>(&self, use_it: impl FnOnce(&[u8]) -> T) -> T {
        let mut pipe = self.incoming.borrow_mut();
        let result = use_it(&pipe.bytes);
        pipe.bytes.clear();
        result
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut pipe = self.outgoing.borrow_mut();
        pipe.closed = true;
        pipe.wake();
    }
}

impl Pipe {
    fn wake(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn read(&mut self, buffer: &mut BytesMut) -> usize {
        let rest = self.bytes.get(self.read..).unwrap_or_default();
        let count = rest.len();
        buffer.extend_from_slice(rest);
        self.read += count;
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.read = 0;
        }
        count
    }
}

impl Reader for MemoryReader {
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.pipe.borrow_mut();
        if pipe.bytes.is_empty() && !pipe.closed {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buffer.reserve(READ_BUFFER_BYTES);
        let count = pipe.read(buffer);
        self.memory.count(|calls| calls.read += 1);
        Poll::Ready(Ok(count))
    }
}

impl Writer for MemoryWriter {
    fn poll_write(&mut self, _: &mut Context<'_>, list: &mut WriteList) -> Poll<io::Result<()>> {
        let parts = list.rest().len() as u64;
        self.memory.count(|calls| {
            calls.write += 1;
            calls.parts += parts;
        });
        let mut pipe = self.pipe.borrow_mut();
        for part in list.rest() {
            pipe.bytes.extend_from_slice(part);
        }
        list.clear();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
