//! One client connection: a loop over its requests, with the deadlines of waiting for a head, and an end that lets
//! the client read its answer before the socket closes.

use std::rc::Rc;

use bytes::Buf;

use super::{
    client::Client,
    exchange,
    heads::{Found, Seen},
    rescue,
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        limits,
        units::{Instant, UnixTime},
    },
    io::net::{Extent, Net, Reader, Writer},
    wire::head::{Framing, HeadError, HeadLimits, Progress, RequestHead, Span},
};

/// A request whose head has arrived.
pub struct Incoming {
    /// The head, and what is known of it.
    pub seen: Rc<Seen>,
    /// Whether it is one that came before.
    pub repeated: bool,
    /// Its length.
    pub head_bytes: usize,
    /// Where its body ends.
    pub framing: Framing,
    /// Whether another request may follow on the connection.
    pub keep_alive: bool,
    /// When its first byte arrived.
    pub accepted: Instant,
    /// The same in civil time.
    pub accepted_unix: UnixTime,
    /// When the head was complete.
    pub head_at: Instant,
}

impl Incoming {
    /// The head, but for its length and framing.
    pub fn head(&self) -> &RequestHead {
        self.seen.head()
    }

    /// The bytes of the head, but for the digits of its `Content-Length`.
    pub fn bytes(&self) -> &[u8] {
        self.seen.bytes()
    }

    /// The first value of a header, if it is text. Lower-case name.
    pub fn header<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.seen.text(self.head().find_span(self.bytes(), name)?)
    }

    /// The same as a function, for those who look several up.
    pub fn lookup<'a>(&'a self) -> impl Fn(&str) -> Option<&'a str> {
        move |name| self.header(name)
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.text(self.head().path)
    }

    /// The query, with its question mark; empty if there is none.
    pub fn query(&self) -> &str {
        let target = self.text(self.head().target);
        target.find('?').map_or("", |at| &target[at..])
    }

    /// The method as written.
    pub fn method(&self) -> &str {
        self.text(self.head().method_text)
    }

    /// Method and target are ASCII by the parser's rules.
    fn text(&self, part: Span) -> &str {
        self.seen.text(part).unwrap_or_default()
    }
}

/// How many extents of what the connection's task expects are those of its exchange.
pub const EXCHANGE_EXTENTS: usize = 1;

/// Whether the connection may carry another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Yes.
    KeepAlive,
    /// No.
    Close,
}

/// Serves a connection until it ends.
pub async fn serve<N: Net, R: Reader, W: Writer>(client: &mut Client<N, R, W>) {
    loop {
        client.answered = None;
        let after = match next_head(client).await {
            // Boxed: what waits for its next request is not to be as large as one under way.
            Next::Incoming(asked) => {
                // The place first: an exchange that is made before its box is copied into it.
                let place = Box::new_uninit();
                client.core.net.expect(0, &[Extent::of(&*place)]);
                let after = Box::into_pin(Box::write(place, exchange::serve(client, &asked))).await;
                client.core.net.expect(0, &[]);
                after
            }
            Next::Malformed(error) => {
                client.core.counters.malformed_heads.add(1);
                Box::pin(rescue::malformed(client, &head_fault(error))).await
            }
            Next::End => return,
        };
        if after == After::Close || client.core.draining.get() {
            break;
        }
    }
    Box::pin(linger(client)).await;
}

/// Answers what was no request, and closes.
pub async fn refuse<N: Net, R: Reader, W: Writer>(client: &mut Client<N, R, W>, fault: &Fault) {
    client.core.counters.malformed_heads.add(1);
    rescue::malformed(client, fault).await;
    linger(client).await;
}

enum Next {
    Incoming(Incoming),
    Malformed(HeadError),
    /// The client left, idled too long, or Trunkline is draining.
    End,
}

/// Waits for the next request's head.
async fn next_head<N: Net, R: Reader, W: Writer>(client: &mut Client<N, R, W>) -> Next {
    let limits = settle(client);
    let mut progress = Progress::default();
    let mut accepted = None;
    let mut deadline = client.now().after(limits::KEEP_ALIVE_FOR);
    loop {
        if !client.inbound.buffer().is_empty() {
            let now = client.now();
            let first_byte = *accepted.get_or_insert(now);
            match find_head(client, &mut progress, &limits) {
                Err(error) => return Next::Malformed(error),
                Ok(Some(found)) => return Next::Incoming(take_head(client, found, first_byte)),
                Ok(None) => deadline = first_byte.after(limits::HEAD_WITHIN),
            }
        }
        let filled = match accepted {
            None => client.fill_unless_draining(deadline).await,
            Some(_) => client.fill(deadline).await,
        };
        if !matches!(filled, Ok(Ok(1..))) {
            return Next::End;
        }
    }
}

/// What holds for heads in this epoch. The epoch itself is not held: a connection may wait for long.
fn settle<N: Net, R: Reader, W: Writer>(client: &Client<N, R, W>) -> HeadLimits {
    let epoch = client.core.epoch();
    client.core.heads.settle(epoch.number);
    HeadLimits { head_bytes: epoch.config.limits.head_bytes }
}

/// Looks for a head at the front of the buffer: first whether it is the connection's last one again.
fn find_head<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    progress: &mut Progress,
    limits: &HeadLimits,
) -> Result<Option<Found>, HeadError> {
    let buffer = client.inbound.buffer();
    let again = client.core.heads.again(buffer, client.head_hash);
    match again.filter(|found| found.again.len <= limits.head_bytes) {
        Some(found) => Ok(Some(found)),
        None => client.core.heads.read(buffer, progress, limits),
    }
}

/// Takes a head off the buffer.
fn take_head<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    found: Found,
    accepted: Instant,
) -> Incoming {
    client.inbound.buffer().advance(found.again.len);
    client.head_hash = found.hash;
    let head_at = client.now();
    Incoming {
        keep_alive: found.seen.head().keep_alive && !client.core.draining.get(),
        seen: found.seen,
        repeated: found.repeated,
        head_bytes: found.again.len,
        framing: found.again.framing,
        accepted,
        accepted_unix: client.core.net.unix_now().before(head_at.since(accepted)),
        head_at,
    }
}

fn head_fault(error: HeadError) -> Fault {
    let kind = if error.is_too_large() { Kind::HeadTooLarge } else { Kind::BadRequest };
    Fault::new(Stage::Head, Source::Client, kind, error.message())
}

/// Closes in a way that lets the client read its answer: closing with unread bytes in the receive queue would send a
/// reset that can overtake the answer (RFC 9112 section 9.6).
async fn linger<N: Net, R: Reader, W: Writer>(client: &mut Client<N, R, W>) {
    let deadline = client.now().after(limits::LINGER_FOR);
    client.shutdown(deadline).await;
    let mut left = limits::LINGER_BYTES_MAX;
    while left > 0 {
        let Ok(Ok(count @ 1..)) = client.fill(deadline).await else { return };
        left = left.saturating_sub(count);
        client.inbound.buffer().clear();
    }
}
