//! monoio-http's codec: its decoders over a connection, without its client or server.

use std::pin::pin;

use bytes::Bytes;
use monoio::io::{sink::Sink, stream::Stream};
use monoio_http::{
    common::{body::Body, error::HttpError},
    h1::{
        codec::{
            decoder::{ClientResponseDecoder, FillPayload, RequestDecoder},
            encoder::GenericEncoder,
        },
        payload::{FixedPayload, Payload, stream_payload_pair},
    },
};

use crate::{
    codec::{Codec, Message, Seen},
    feed::{Feed, poll_once, settle},
};

/// monoio-http's.
pub struct MonoioHttp;

impl Codec for MonoioHttp {
    const NAME: &'static str = "monoio-http";

    fn serve(feed: &Feed, answer: &Bytes) -> Seen {
        let mut seen = Seen::default();
        let work = async {
            let mut decoder = RequestDecoder::new(feed.clone());
            let mut encoder = GenericEncoder::new(feed.clone());
            while let Some(request) = decoder.next().await {
                let request = match request {
                    Ok(request) => request,
                    Err(error) => {
                        seen.refused = Some(error.to_string());
                        return;
                    }
                };
                let (head, mut payload) = request.into_parts();
                if let Err(error) = decoder.fill_payload().await {
                    seen.refused = Some(error.to_string());
                    return;
                }
                let mut body = Vec::new();
                while let Some(Ok(piece)) = payload.next_data().await {
                    body.extend_from_slice(&piece);
                }
                seen.messages.push(Message { what: head.uri.to_string(), body });
                let response = http::Response::new(fixed(answer));
                if let Err(error) = encoder.send(response).await {
                    seen.refused = Some(error.to_string());
                    return;
                }
                let _: Result<(), _> = flush(&mut encoder).await;
            }
        };
        let _ = settle(pin!(work));
        seen
    }

    fn ask(feed: &Feed, rounds: &[(&'static str, Bytes)]) -> Seen {
        let mut seen = Seen::default();
        let work = async {
            let mut decoder = ClientResponseDecoder::new(feed.clone());
            for (_, answer) in rounds {
                feed.push(answer.clone());
                let response = match decoder.next().await {
                    None => return,
                    Some(Ok(response)) => response,
                    Some(Err(error)) => {
                        seen.refused = Some(error.to_string());
                        return;
                    }
                };
                let (head, payload) = response.into_parts();
                let mut payload = payload.with_io(&mut decoder);
                let mut body = Vec::new();
                while let Some(piece) = payload.next_data().await {
                    match piece {
                        Ok(piece) => {
                            seen.partial += piece.len();
                            body.extend_from_slice(&piece);
                        }
                        Err(error) => {
                            seen.refused = Some(error.to_string());
                            return;
                        }
                    }
                }
                seen.messages.push(Message { what: head.status.as_u16().to_string(), body });
            }
        };
        let _ = settle(pin!(work));
        seen
    }

    fn begin_stream() -> Vec<u8> {
        let feed = Feed::default();
        let (payload, mut sender) = stream_payload_pair::<Bytes, HttpError>();
        sender.feed_data(Some(Bytes::from_static(b"t")));
        let response = http::Response::new(Payload::from(payload));
        let mut encoder = GenericEncoder::new(feed.clone());
        let _ = poll_once(pin!(encoder.send(response)));
        drop(sender);
        feed.written()
    }
}

/// A read that is given up and begun again, with the head arriving in two pieces: whether the request is still seen.
pub fn survives_a_cancelled_read() -> String {
    let feed = Feed::of([Bytes::from_static(b"GET /one HTTP/1.1\r\nHo")]);
    let mut decoder = RequestDecoder::new(feed.clone());
    let _ = poll_once(pin!(decoder.next()));
    feed.push(Bytes::from_static(b"st: a\r\n\r\n"));
    match settle(pin!(decoder.next())) {
        Some(Some(Ok(request))) => request.uri().to_string(),
        Some(Some(Err(error))) => format!("refused: {error}"),
        Some(None) => "the end".to_owned(),
        None => "waits".to_owned(),
    }
}

/// Clones an error.
pub fn clones_an_error() -> String {
    use monoio_http::h1::codec::decoder::DecodeError;
    let error = std::hint::black_box(DecodeError::Chunked);
    std::hint::black_box(&error.clone()).to_string()
}

/// Reads a long body that nobody takes out; returns how much it took off the connection.
pub fn unread_body(feed: &Feed) -> usize {
    let mut decoder = RequestDecoder::new(feed.clone());
    let work = async {
        let request = decoder.next().await;
        let _ = decoder.fill_payload().await;
        drop(request);
    };
    let _ = settle(pin!(work));
    feed.taken()
}

fn fixed(answer: &Bytes) -> Payload {
    Payload::from(FixedPayload::new(answer.clone()))
}

async fn flush(encoder: &mut GenericEncoder<Feed>) -> Result<(), HttpError> {
    Sink::<http::Response<Payload>>::flush(encoder).await
}
