//! Connections of the machine in memory: two byte queues without a bound. A write is one copy in and a read one copy
//! out, as with a kernel.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    rc::Rc,
    task::{Poll, Waker},
};

use bytes::BytesMut;
use trunkline::io::{
    buffer::WriteList,
    net::{Reader, Writer},
};

use super::Memory;

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
        let count = rest.len().min(buffer.capacity() - buffer.len());
        buffer.extend_from_slice(&rest[..count]);
        self.read += count;
        if self.read == self.bytes.len() {
            self.bytes.clear();
            self.read = 0;
        }
        count
    }
}

impl Reader for MemoryReader {
    async fn read(&mut self, mut buffer: BytesMut) -> (io::Result<usize>, BytesMut) {
        let count = poll_fn(|cx| {
            let mut pipe = self.pipe.borrow_mut();
            let count = pipe.read(&mut buffer);
            if count > 0 || pipe.closed {
                return Poll::Ready(count);
            }
            pipe.reader = Some(cx.waker().clone());
            Poll::Pending
        });
        let count = count.await;
        self.memory.count(|calls| calls.read += 1);
        (Ok(count), buffer)
    }
}

impl Writer for MemoryWriter {
    async fn write(&mut self, mut list: WriteList) -> (io::Result<()>, WriteList) {
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
        (Ok(()), list)
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}
