//! The request's body: buffered whole where it may have to be sent more than once, within `limits.body`.

use bytes::{Bytes, BytesMut};

use super::{
    client::{Client, Interrupted, gone},
    connection::Incoming,
    upstream,
};
use crate::{
    base::{
        fault::{Deadline, Fault, Kind, Source, Stage},
        limits,
        units::Instant,
    },
    io::net::{Net, Reader, Writer},
    wire::{
        body::{BodyError, BodyReader, Pulled},
        head::Framing,
        render,
    },
};

/// Reads the whole body. One that lies in a single piece is not copied.
pub async fn read<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    asked: &Incoming,
    bytes_max: u64,
    total_by: Instant,
) -> Result<Bytes, Fault> {
    if let Framing::Length(length) = asked.framing
        && length > bytes_max
    {
        return Err(too_large(bytes_max));
    }
    if let Framing::Length(length) = asked.framing {
        client.hold.body(length)?;
        invite(client, asked, total_by).await?;
        return announced(client, length, total_by).await;
    }
    client.hold.body(0)?;
    invite(client, asked, total_by).await?;
    let mut reader = BodyReader::new(asked.framing);
    let mut whole = Whole::default();
    loop {
        match reader.pull(client.inbound.buffer()).map_err(malformed)? {
            Pulled::Data(piece) => {
                if whole.len() as u64 + piece.len() as u64 > bytes_max {
                    return Err(too_large(bytes_max));
                }
                client.body_taken += piece.len() as u64;
                let room = whole.room_with(piece.len(), bytes_max);
                client.hold.body(room as u64)?;
                whole.append(piece, room);
            }
            Pulled::Done => return Ok(whole.freeze()),
            Pulled::NeedMore => more(client, total_by).await?,
        }
    }
}

/// Reads a body of a known length: what is not there yet is read straight behind what is.
async fn announced<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    length: u64,
    total_by: Instant,
) -> Result<Bytes, Fault> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    loop {
        let there = client.inbound.buffer().len();
        if there >= length {
            break;
        }
        client.body_taken = there as u64;
        if there > 0 {
            client.inbound.gather(length);
        }
        more(client, total_by).await?;
    }
    client.body_taken = length as u64;
    Ok(client.inbound.take(length))
}

/// Tells a client that waits for it to send its body.
pub async fn invite<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    asked: &Incoming,
    total_by: Instant,
) -> Result<(), Fault> {
    if asked.head().expect_continue && client.inbound.buffer().is_empty() {
        client.send_bytes(Bytes::from_static(render::CONTINUE), total_by).await?;
    }
    Ok(())
}

/// Waits for more of the body.
pub async fn more<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    total_by: Instant,
) -> Result<(), Fault> {
    let idle_by = client.now().after(limits::BODY_IDLE_FOR);
    match client.fill(idle_by.min(total_by)).await {
        Ok(Ok(1..)) => Ok(()),
        Ok(Ok(0)) => Err(gone("the client closed before its body was complete")),
        Ok(Err(error)) => Err(gone(format!("the client's connection broke: {error}"))),
        Err(Interrupted::Deadline) if idle_by <= total_by => Err(Fault::new(
            Stage::Body,
            Source::Client,
            Kind::Timeout(Deadline::Body),
            format!("no byte of the request body came for {:?}", limits::BODY_IDLE_FOR),
        )),
        Err(_) => Err(upstream::total_timeout(Stage::Body)),
    }
}

/// A body of unknown length as it comes together.
#[derive(Default)]
struct Whole {
    first: Bytes,
    joined: BytesMut,
}

impl Whole {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    /// The bytes that it will take up with so many more: twice as many each time.
    fn room_with(&self, more: usize, bytes_max: u64) -> usize {
        let length = self.len() + more;
        if self.len() == 0 || length <= self.joined.capacity() {
            return self.joined.capacity().max(length);
        }
        let doubled = (2 * length as u64).min(bytes_max);
        usize::try_from(doubled).unwrap_or(length).max(length)
    }

    /// `room`: from [`Whole::room_with`].
    fn append(&mut self, piece: Bytes, room: usize) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        self.joined.reserve(room - self.joined.len());
        if !self.first.is_empty() {
            self.joined.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.joined.extend_from_slice(&piece);
    }

    /// A short body in one piece is copied, for the reason of [`crate::io::inbound::Inbound::take`].
    fn freeze(self) -> Bytes {
        match self.joined.is_empty() {
            true if self.first.len() <= limits::COPIED_OUT_BYTES => {
                Bytes::copy_from_slice(&self.first)
            }
            true => self.first,
            false => self.joined.freeze(),
        }
    }
}

/// The framing of the client's body is wrong.
pub fn malformed(error: BodyError) -> Fault {
    Fault::new(Stage::Body, Source::Client, Kind::BadRequest, error.message())
}

fn too_large(bytes_max: u64) -> Fault {
    let message = format!("the request body is larger than limits.body ({bytes_max} bytes)");
    Fault::new(Stage::Body, Source::Client, Kind::BodyTooLarge, message)
}
