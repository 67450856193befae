//! The HTTP/1.1 codec as its users see it: what it reads, what it refuses and under which name, what it writes.

mod bodies;
mod cuts;
mod render;
mod requests;
mod responses;
mod seen;

use bytes::{Bytes, BytesMut};
use trunkline::wire::{
    body::{BodyError, BodyReader, Pulled},
    head::{
        Framing, HeadError, HeadLimits, Method, Progress, RequestHead, ResponseHead, parse_request,
        parse_response,
    },
};

/// Parses a request head that is there as a whole.
pub fn request(text: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    parse_request(text, &mut Progress::default(), &HeadLimits::default())
}

/// Parses a request head that must be complete and right.
pub fn good_request(text: &[u8]) -> RequestHead {
    request(text).expect("a good head").expect("a complete head")
}

/// Parses an answer's head that is there as a whole.
pub fn response(text: &[u8], to_method: Method) -> Result<Option<ResponseHead>, HeadError> {
    parse_response(text, &mut Progress::default(), to_method)
}

/// Parses an answer's head that must be complete and right.
pub fn good_response(text: &[u8], to_method: Method) -> ResponseHead {
    response(text, to_method).expect("a good head").expect("a complete head")
}

/// What became of a body: its bytes, and whether it ended, needs more, or was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadBody {
    pub data: Vec<u8>,
    pub end: Result<bool, BodyError>,
    pub left: Bytes,
}

/// Feeds a body piece by piece, as a connection would.
pub fn read_body<'a>(framing: Framing, arrivals: impl IntoIterator<Item = &'a [u8]>) -> ReadBody {
    let mut reader = BodyReader::new(framing);
    let mut buffer = BytesMut::new();
    let mut data = Vec::new();
    let mut end = Ok(reader.is_done());
    for arrival in arrivals {
        buffer.extend_from_slice(arrival);
        end = loop {
            match reader.pull(&mut buffer) {
                Ok(Pulled::Data(bytes)) => data.extend_from_slice(&bytes),
                Ok(Pulled::NeedMore) => break Ok(false),
                Ok(Pulled::Done) => break Ok(true),
                Err(error) => break Err(error),
            }
        };
        if end.is_err() {
            break;
        }
    }
    ReadBody { data, end, left: buffer.freeze() }
}

/// A chunked body that arrives at once.
pub fn read_chunks(text: &[u8]) -> ReadBody {
    read_body(Framing::Chunked, [text])
}
