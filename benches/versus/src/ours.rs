//! Trunkline's codec, as its connections use it.

use bytes::{Bytes, BytesMut};
use std::num::NonZeroUsize;
use trunkline::wire::{
    body::{BodyReader, Pulled},
    head::{Framing, HeadLimits, Method, Progress, parse_request, parse_response},
    render::{CHUNK_END, HeadWriter, chunk_prefix},
};

use crate::{
    codec::{Codec, Message, Seen},
    feed::Feed,
};

/// Trunkline's.
pub struct Ours;

impl Ours {
    /// Whether the head says that its client waits to be told to go on.
    pub fn sees_expectation(head: &[u8]) -> bool {
        let head = parse_request(head, &mut Progress::default(), &HeadLimits::default());
        head.is_ok_and(|head| head.is_some_and(|head| head.expect_continue))
    }
}

impl Codec for Ours {
    const NAME: &'static str = "trunkline";

    fn serve(feed: &Feed, answer: &Bytes) -> Seen {
        let mut seen = Seen::default();
        let (mut buffer, mut out) = (BytesMut::new(), BytesMut::new());
        loop {
            let mut progress = Progress::default();
            let head = loop {
                match parse_request(&buffer, &mut progress, &HeadLimits::default()) {
                    Ok(Some(head)) => break head,
                    Ok(None) if more(feed, &mut buffer) => {}
                    Ok(None) => return seen,
                    Err(error) => return refused(seen, error),
                }
            };
            let bytes = buffer.split_to(head.len).freeze();
            let what = String::from_utf8_lossy(head.target.of(&bytes)).into_owned();
            let Some(body) = body(feed, head.framing, &mut buffer, &mut seen) else { return seen };
            seen.messages.push(Message { what, body });
            let mut writer = HeadWriter::response(&mut out, 200).expect("a status");
            writer.length(answer.len() as u64).expect("the only length");
            writer.finish();
            out.extend_from_slice(answer);
            feed.put(&out);
            out.clear();
        }
    }

    fn ask(feed: &Feed, rounds: &[(&'static str, Bytes)]) -> Seen {
        let mut seen = Seen::default();
        let mut buffer = BytesMut::new();
        for (method, answer) in rounds {
            feed.push(answer.clone());
            let method = if *method == "HEAD" { Method::Head } else { Method::Get };
            loop {
                let mut progress = Progress::default();
                let head = loop {
                    match parse_response(&buffer, &mut progress, method) {
                        Ok(Some(head)) => break head,
                        Ok(None) if more(feed, &mut buffer) => {}
                        Ok(None) => return seen,
                        Err(error) => return refused(seen, error),
                    }
                };
                drop(buffer.split_to(head.len));
                if head.is_interim() {
                    continue;
                }
                let Some(body) = body(feed, head.framing, &mut buffer, &mut seen) else {
                    return seen;
                };
                seen.messages.push(Message { what: head.status.to_string(), body });
                break;
            }
        }
        seen
    }

    fn begin_stream() -> Vec<u8> {
        let mut out = BytesMut::new();
        let mut writer = HeadWriter::response(&mut out, 200).expect("a status");
        writer.chunked().expect("the only framing");
        writer.finish();
        out.extend_from_slice(&chunk_prefix(NonZeroUsize::MIN));
        out.extend_from_slice(b"t");
        out.extend_from_slice(CHUNK_END);
        out.to_vec()
    }
}

/// Reads a body to its end; `None`: it waits, or was refused.
fn body(feed: &Feed, framing: Framing, buffer: &mut BytesMut, seen: &mut Seen) -> Option<Vec<u8>> {
    let mut reader = BodyReader::new(framing);
    let mut body = Vec::new();
    loop {
        match reader.pull(buffer) {
            Ok(Pulled::Data(bytes)) => body.extend_from_slice(&bytes),
            Ok(Pulled::Done) => return Some(body),
            Ok(Pulled::NeedMore) if more(feed, buffer) => {}
            Ok(Pulled::NeedMore) => {
                if feed.at_end() && reader.end_of_input().is_ok() {
                    return Some(body);
                }
                seen.partial = body.len();
                return None;
            }
            Err(error) => {
                seen.refused = Some(error.to_string());
                return None;
            }
        }
    }
}

fn more(feed: &Feed, buffer: &mut BytesMut) -> bool {
    let Some(piece) = feed.take_rest() else { return false };
    buffer.extend_from_slice(&piece);
    true
}

fn refused(seen: Seen, error: impl ToString) -> Seen {
    Seen { refused: Some(error.to_string()), ..seen }
}
