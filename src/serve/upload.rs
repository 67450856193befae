//! A body that is passed on as it comes: files and audio, too large to hold. It can be sent to one target only.

use std::{num::NonZeroUsize, pin::pin};

use bytes::Bytes;

use super::{
    body,
    client::{Client, Interrupted},
    connection::Incoming,
    dial,
    send::{is_only_interim, write_unless_answered},
    upstream::{self, AnswerOf, Attempt, Failed, Milestones, UpstreamOf},
};
use crate::{
    base::{
        fault::{Deadline, Fault, Kind, Source, Stage},
        limits,
    },
    io::{
        buffer::WriteList,
        net::{Net, Reader, Writer},
        race::{First, race},
    },
    wire::{
        body::{BodyReader, Pulled},
        head::Framing,
        render,
    },
};

/// Connects, sends the head, passes the body on, reads the answer's head.
pub async fn attempt<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
    attempt: &Attempt<'_>,
    bytes_max: u64,
    times: &mut Milestones,
) -> Result<AnswerOf<N>, Failed> {
    if let Framing::Length(length) = incoming.framing
        && length > bytes_max
    {
        return Err(too_large(bytes_max).into());
    }
    // A fresh connection: one that turns out stale could not be replaced once the body is under way.
    let mut upstream = Box::pin(dial::open(client, attempt)).await?;
    times.connected = Some(client.now());
    body::invite(client, incoming, attempt.total.by).await?;
    let mut list = client.core.lists.take();
    list.extend(attempt.request.iter().cloned());
    let complete = write(client, attempt, &mut upstream, list).await?
        && pass_body(client, incoming, attempt, &mut upstream, bytes_max).await?;
    client.body_pending = !complete;
    let answer = upstream::await_head(client, attempt, upstream, complete, times).await;
    answer.map_err(|broken| broken.failed)
}

/// Passes the body on; `Ok(false)`: the upstream answered before it was complete.
async fn pass_body<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
    attempt: &Attempt<'_>,
    upstream: &mut UpstreamOf<N>,
    bytes_max: u64,
) -> Result<bool, Failed> {
    let chunked = incoming.framing == Framing::Chunked;
    let mut reader = BodyReader::new(incoming.framing);
    loop {
        match reader.pull(client.inbound.buffer()).map_err(body::malformed)? {
            Pulled::Data(piece) => {
                client.body_taken += piece.len() as u64;
                if client.body_taken > bytes_max {
                    return Err(too_large(bytes_max).into());
                }
                client.note_request(&piece);
                let list = framed(client.core.lists.take(), piece, chunked);
                if !write(client, attempt, upstream, list).await? {
                    return Ok(false);
                }
            }
            Pulled::Done => {
                if chunked {
                    let last = WriteList::of(Bytes::from_static(render::LAST_CHUNK));
                    return write(client, attempt, upstream, last).await;
                }
                return Ok(true);
            }
            Pulled::NeedMore => {
                let answered = {
                    let more = pin!(body::more(client, attempt.total.by));
                    match race(more, upstream.inbound.fill()).await {
                        First::Left(more) => {
                            more?;
                            None
                        }
                        First::Right(filled) => Some(filled),
                    }
                };
                match answered {
                    None => {}
                    Some(Ok(1..)) if is_only_interim(upstream.inbound.buffer()) => {}
                    // Early: an error, most likely. The rest of the body is not wanted any more.
                    Some(Ok(1..)) => return Ok(false),
                    Some(_) => return Err(closed_early().into()),
                }
            }
        }
    }
}

fn framed(mut list: WriteList, piece: Bytes, chunked: bool) -> WriteList {
    match NonZeroUsize::new(piece.len()) {
        Some(length) if chunked => {
            list.push(render::chunk_prefix(length));
            list.push(piece);
            list.push(Bytes::from_static(render::CHUNK_END));
        }
        _ => list.push(piece),
    }
    list
}

/// Writes to the upstream; `Ok(false)`: it has answered. The client is not watched meanwhile: its body is what is
/// being read.
async fn write<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    attempt: &Attempt<'_>,
    upstream: &mut UpstreamOf<N>,
    mut list: WriteList,
) -> Result<bool, Failed> {
    let idle_by = client.now().after(limits::UPLOAD_WRITE_WITHIN);
    let net = client.core.net.clone();
    let deadline = idle_by.min(attempt.total.by);
    let write = write_unless_answered(upstream, &mut list);
    let written = client.timer.within(&net, deadline, write).await;
    client.core.lists.give(list);
    match written {
        Ok(Ok(complete)) => Ok(complete),
        Ok(Err(error)) => {
            let message = format!("the upload could not be passed on: {error}");
            Err(Fault::new(Stage::Send, Source::Network, Kind::Unreachable, message).into())
        }
        Err(_) => {
            let message = "the upstream took no bytes of the upload until the deadline";
            let kind = Kind::Timeout(Deadline::Send);
            Err(Fault::new(Stage::Send, Source::Network, kind, message).into())
        }
    }
}

impl From<Interrupted> for Failed {
    fn from(interrupted: Interrupted) -> Failed {
        match interrupted {
            Interrupted::ClientGone => Failed::ClientGone,
            Interrupted::Deadline => Failed::Fault(upstream::total_timeout(Stage::Send)),
        }
    }
}

fn closed_early() -> Fault {
    let message = "the upstream closed before the upload was complete";
    Fault::new(Stage::Send, Source::Upstream, Kind::Truncated, message)
}

fn too_large(bytes_max: u64) -> Fault {
    let message = format!("the upload is larger than limits.upload ({bytes_max} bytes)");
    Fault::new(Stage::Body, Source::Client, Kind::BodyTooLarge, message)
}
