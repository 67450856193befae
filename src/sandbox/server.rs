//! One connection of the sandbox: reads requests, and writes each answer step by step on an absolute schedule, so
//! that a slow write delays no later one. A client that goes away is noticed while it is waited for.

use std::{
    cell::RefMut,
    future::{Future, poll_fn},
    io, mem,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};

use super::{
    Sandbox,
    answer::{self, Planned, SCRIPT_HEADER},
    body::{Body, Keep},
    dice::Dice,
    http::{Head, HeadScan, Request},
    recorder::{Gone, Recorder},
    refusal::Refusal,
    wire::{Client, End, Steps},
};
use crate::{
    base::{limits, units::Instant},
    io::{
        buffer::WriteList,
        net::{Net, Reader, Writer},
    },
};

/// Serves one connection until either side closes it.
pub async fn serve_connection<N: Net>(
    net: N,
    reader: N::Reader,
    writer: N::Writer,
    sandbox: Rc<Sandbox>,
) {
    let _open = Open::new(&sandbox);
    let mut connection =
        Connection { net, reader, writer, sandbox: sandbox.clone(), buffer: BytesMut::new() };
    while connection.exchange().await.is_ok() {}
}

/// The connection is over: the client has gone, or was told to.
struct Over;

struct Connection<N: Net> {
    net: N,
    reader: N::Reader,
    writer: N::Writer,
    sandbox: Rc<Sandbox>,
    /// Received and not yet consumed.
    buffer: BytesMut,
}

/// What a request says about its answer, and the answer's seed.
struct Asked {
    request: Request,
    client: Client,
}

impl<N: Net> Connection<N> {
    async fn exchange(&mut self) -> Result<(), Over> {
        let head = match self.receive_head().await? {
            Ok(head) => head,
            Err(refusal) => return self.refuse(&refusal).await,
        };
        let asked = match self.receive_body(head).await? {
            Ok(asked) => asked,
            Err(refusal) => return self.refuse(&refusal).await,
        };
        let received_at = self.net.now();
        if let Some(mut recorder) = recorder(&self.sandbox) {
            recorder.received(received_at, asked.request.clone());
        }
        let (seed, now) = (self.net.random(), self.net.unix_now());
        let planned = answer::answer(&self.sandbox, &asked.request, seed, now);
        let steps = Steps::new(planned, asked.client, &mut Dice::new(!seed));
        self.play(steps, received_at, &asked.request.path).await
    }

    async fn receive_head(&mut self) -> Result<Result<Head, Refusal>, Over> {
        let mut scan = HeadScan::default();
        loop {
            match scan.take(&mut self.buffer) {
                Ok(Some(head)) => return Ok(Ok(head)),
                Ok(None) => self.fill().await?,
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
    }

    async fn receive_body(&mut self, head: Head) -> Result<Result<Asked, Refusal>, Over> {
        let mut request = head.request;
        let keep = match request.path.as_str() {
            "/v1/files" => Keep::Beginning(limits::SANDBOX_UPLOAD_KEPT_BYTES),
            _ => Keep::Whole(limits::SANDBOX_BODY_BYTES_MAX),
        };
        let mut body = Body::new(head.framing, keep);
        if head.expects_continue && self.buffer.is_empty() {
            self.write(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n")).await?;
        }
        let (begun_at, slow_read) = (self.net.now(), self.slow_read(&request));
        loop {
            match body.take(&mut self.buffer) {
                Ok(true) => break,
                Ok(false) => {}
                Err(refusal) => return Ok(Err(refusal)),
            }
            if let Some(bytes_per_second) = slow_read {
                let due = Duration::from_secs_f64(body.bytes() as f64 / bytes_per_second as f64);
                self.net.sleep_until(begun_at.after(due)).await;
            }
            if self.fill().await.is_err() {
                self.note_gone(&request.path, 0);
                return Err(Over);
            }
        }
        let client = Client {
            keep_alive: head.keep_alive,
            old: head.old,
            head_only: request.method == "HEAD",
        };
        request.body_bytes = body.bytes();
        request.body = body.into_kept();
        Ok(Ok(Asked { request, client }))
    }

    /// The script of the body is not known yet: only the header's and the sandbox's own can slow its reading.
    fn slow_read(&self, request: &Request) -> Option<u64> {
        let mut script = self.sandbox.script.clone();
        let scripted = request.header(SCRIPT_HEADER).map(|text| script.apply(text));
        // A header that does not parse is answered with a 400 once the request is here.
        if let Some(Err(_)) = scripted { None } else { script.slow_read }
    }

    /// Writes the steps when they are due, while it watches for the client to go away.
    async fn play(&mut self, mut steps: Steps, start: Instant, path: &str) -> Result<(), Over> {
        let Connection { net, reader, writer, buffer, .. } = self;
        let (played, received) = {
            // Who sends the next request early is not watched: those bytes must be consumed before more are read.
            let watched = buffer.is_empty();
            let spare = if watched { mem::take(buffer) } else { BytesMut::new() };
            let reading = pin!(async { reader.read(spare).await });
            let mut watch = Watch { reading: watched.then_some(reading), early: None };
            let played = play_steps(net, writer, &mut steps, start, &mut watch).await;
            let received = match played {
                Ok(End::KeepAlive | End::Stall) => watch.finish().await,
                _ => None,
            };
            (played, received)
        };
        match (played, received) {
            (Ok(End::KeepAlive), Some((Ok(count), bytes))) if count > 0 => self.buffer = bytes,
            (Ok(End::KeepAlive), None) => {}
            (Ok(End::KeepAlive), Some(_)) => return Err(Over),
            (Ok(End::Close), _) => {
                let _ = self.writer.shutdown().await;
                return Err(Over);
            }
            (Ok(End::Cut(at)), _) => {
                self.net.sleep_until(start.after(at)).await;
                return Err(Over);
            }
            (Ok(End::Stall), Some((Ok(0) | Err(_), _))) | (Err(Over), _) => {
                self.note_gone(path, steps.sent());
                return Err(Over);
            }
            (Ok(End::Stall), _) => {
                drain(&mut self.reader).await;
                self.note_gone(path, steps.sent());
                return Err(Over);
            }
        }
        Ok(())
    }

    /// Answers what could not be read. The client may still be sending: what it sends is read for a while, since
    /// closing on unread bytes would reset the connection and lose the answer.
    async fn refuse(&mut self, refusal: &Refusal) -> Result<(), Over> {
        let client = Client { keep_alive: false, old: false, head_only: false };
        let planned: Planned = answer::unreadable(refusal);
        let steps = Steps::new(planned, client, &mut Dice::new(0));
        for step in steps {
            self.write(step.bytes).await?;
        }
        let _ = self.writer.shutdown().await;
        let mut expiry =
            pin!(self.net.sleep_until(self.net.now().after(limits::SANDBOX_LINGER_FOR)));
        let mut drained = pin!(drain(&mut self.reader));
        poll_fn(|cx| match expiry.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => drained.as_mut().poll(cx),
        })
        .await;
        Err(Over)
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Over> {
        let mut list = WriteList::new();
        list.push(bytes);
        let (result, _) = self.writer.write(list).await;
        result.map_err(|_| Over)
    }

    async fn fill(&mut self) -> Result<(), Over> {
        let (result, buffer) = self.reader.read(mem::take(&mut self.buffer)).await;
        self.buffer = buffer;
        match result {
            Ok(count) if count > 0 => Ok(()),
            _ => Err(Over),
        }
    }

    fn note_gone(&self, path: &str, sent_bytes: u64) {
        if let Some(mut recorder) = recorder(&self.sandbox) {
            recorder.gone(Gone { at: self.net.now(), path: path.to_owned(), sent_bytes });
        }
    }
}

/// Writes the steps when they are due; what follows them.
async fn play_steps<N: Net, F: Future<Output = Read>>(
    net: &N,
    writer: &mut N::Writer,
    steps: &mut Steps,
    start: Instant,
    watch: &mut Watch<'_, F>,
) -> Result<End, Over> {
    for step in steps.by_ref() {
        let due = start.after(step.at);
        if due > net.now() {
            watch.during(net.sleep_until(due)).await?;
        }
        let mut list = WriteList::new();
        list.push(step.bytes);
        let (written, _) = watch.during(writer.write(list)).await?;
        written.map_err(|_| Over)?;
    }
    Ok(steps.end())
}

/// What a read gives: its result and its buffer.
type Read = (io::Result<usize>, BytesMut);

/// A read of the next request, under way while an answer is written: its end means that the client has gone.
struct Watch<'a, F: Future<Output = Read>> {
    /// `None`: it is over, or was never begun.
    reading: Option<Pin<&'a mut F>>,
    /// What came before the answer was complete.
    early: Option<Read>,
}

impl<F: Future<Output = Read>> Watch<'_, F> {
    /// Does the work unless the client goes away before it is done.
    async fn during<W: Future>(&mut self, work: W) -> Result<W::Output, Over> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            if let Some(reading) = &mut self.reading
                && let Poll::Ready(read) = reading.as_mut().poll(cx)
            {
                self.reading = None;
                match read.0 {
                    Ok(count) if count > 0 => self.early = Some(read),
                    _ => return Poll::Ready(Err(Over)),
                }
            }
            Poll::Pending
        })
        .await
    }

    /// What the read gave, waiting for it; `None`: it was never begun.
    async fn finish(self) -> Option<Read> {
        match (self.early, self.reading) {
            (Some(early), _) => Some(early),
            (None, Some(reading)) => Some(reading.await),
            (None, None) => None,
        }
    }
}

/// Reads until the client sends no more.
async fn drain(reader: &mut impl Reader) {
    let mut buffer = BytesMut::new();
    loop {
        let (result, received) = reader.read(buffer).await;
        match result {
            Ok(count) if count > 0 => {
                buffer = received;
                buffer.clear();
            }
            _ => return,
        }
    }
}

fn recorder(sandbox: &Sandbox) -> Option<RefMut<'_, Recorder>> {
    sandbox.recorder.as_ref().map(|recorder| recorder.borrow_mut())
}

/// Counts a connection from its beginning to its end, however it ends.
struct Open(Rc<Sandbox>);

impl Open {
    fn new(sandbox: &Rc<Sandbox>) -> Open {
        if let Some(mut recorder) = recorder(sandbox) {
            recorder.connections_opened += 1;
        }
        Open(sandbox.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(mut recorder) = recorder(&self.0) {
            recorder.connections_closed += 1;
        }
    }
}
