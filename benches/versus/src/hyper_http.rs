//! hyper's HTTP/1: only to be had with its connections, so that these are measured with it.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming},
    client, server,
    service::service_fn,
};

use crate::{
    codec::{Codec, Message, Seen},
    feed::{Feed, poll_once, settle},
};

/// hyper's.
pub struct Hyper;

impl Codec for Hyper {
    const NAME: &'static str = "hyper";

    fn serve(feed: &Feed, answer: &Bytes) -> Seen {
        let seen = Rc::new(RefCell::new(Seen::default()));
        let service = service_fn(|request: Request<Incoming>| {
            let (seen, answer) = (Rc::clone(&seen), answer.clone());
            async move {
                let what = request.uri().to_string();
                let mut body = Vec::new();
                let mut incoming = request.into_body();
                while let Some(frame) = incoming.frame().await {
                    let data = match frame {
                        Ok(frame) => frame.into_data().unwrap_or_default(),
                        Err(error) => {
                            seen.borrow_mut().refused = Some(error.to_string());
                            return Err(error);
                        }
                    };
                    seen.borrow_mut().partial += data.len();
                    body.extend_from_slice(&data);
                }
                seen.borrow_mut().messages.push(Message { what, body });
                Ok(Response::new(Full::new(answer)))
            }
        });
        let connection =
            server::conn::http1::Builder::new().serve_connection(feed.clone(), service);
        if let Some(Err(error)) = settle(pin!(connection)) {
            seen.borrow_mut().refused = Some(error.to_string());
        }
        seen.take()
    }

    fn ask(feed: &Feed, rounds: &[(&'static str, Bytes)]) -> Seen {
        let mut seen = Seen::default();
        let handshake =
            settle(pin!(client::conn::http1::handshake::<_, Empty<Bytes>>(feed.clone())));
        let Some(Ok((mut sender, connection))) = handshake else { return seen };
        let mut connection = pin!(connection);
        let partial = Cell::new(0);
        for (method, answer) in rounds {
            let request = Request::builder().method(*method).uri("/").header("host", "a");
            let request = request.body(Empty::new()).expect("a request");
            let sent = pin!(async {
                let response =
                    sender.send_request(request).await.map_err(|error| error.to_string())?;
                let status = response.status().as_u16().to_string();
                let mut incoming = response.into_body();
                let mut body = Vec::new();
                while let Some(frame) = incoming.frame().await {
                    let frame = frame.map_err(|error| error.to_string())?;
                    let data = frame.into_data().unwrap_or_default();
                    partial.set(partial.get() + data.len());
                    body.extend_from_slice(&data);
                }
                Ok::<_, String>(Message { what: status, body })
            });
            let answered = drive(sent, connection.as_mut(), || feed.push(answer.clone()));
            seen.partial = partial.get();
            match answered {
                Some(Ok(message)) => seen.messages.push(message),
                Some(Err(error)) => {
                    seen.refused = Some(error);
                    return seen;
                }
                None => return seen,
            }
        }
        seen
    }

    fn begin_stream() -> Vec<u8> {
        let feed = Feed::of([Bytes::from_static(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")]);
        let service = service_fn(|_| async { Ok::<_, Infallible>(Response::new(OnePiece(false))) });
        let connection =
            server::conn::http1::Builder::new().serve_connection(feed.clone(), service);
        let _ = settle(pin!(connection));
        feed.written()
    }
}

/// Polls a call and its connection in turns; the answer arrives once the request is out.
fn drive<T>(
    mut call: Pin<&mut impl Future<Output = T>>,
    mut connection: Pin<&mut impl Future<Output = hyper::Result<()>>>,
    arrive: impl FnOnce(),
) -> Option<T> {
    let mut arrive = Some(arrive);
    let mut open = true;
    for _ in 0..TURNS {
        if let Poll::Ready(value) = poll_once(call.as_mut()) {
            return Some(value);
        }
        open = open && poll_once(connection.as_mut()).is_pending();
        if let Some(arrive) = arrive.take() {
            arrive();
        }
    }
    None
}

/// A body whose first piece is there and whose second never comes.
struct OnePiece(bool);

impl Body for OnePiece {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"t")))))
    }
}

/// Enough for hundreds of chunks, one or two a turn.
const TURNS: usize = 1000;
