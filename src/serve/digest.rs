//! What a body is to the relay while it passes: opaque bytes, events that are watched, or events that are translated.
//! A digest takes the pieces in and gives out what the client gets; it waits for nothing.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{
    base::fault::{Fault, Kind, Source, Stage, Told},
    chat::{
        estimate::{self},
        usage::Usage,
    },
    io::net::Extent,
    provider::{Adapter, Endpoint, StreamError},
    wire::json::{self, Tap},
};

/// Pieces of body on their way to the client.
pub type Pieces = SmallVec<[Bytes; 2]>;

/// Takes a body in and gives out what the client gets.
pub trait Digest {
    /// Takes the next piece. An error ends the stream.
    fn piece(&mut self, piece: Bytes, out: &mut Pieces) -> Result<(), Ended>;
    /// The body has come to its end by HTTP's account. An error: not by its own.
    fn end(&mut self, out: &mut Pieces) -> Result<(), Ended>;
    /// Whether a body that HTTP calls complete is none that a client could read.
    fn is_broken(&self) -> bool {
        false
    }
    /// Whether the body has said itself that it is complete: then it is no loss if its connection breaks.
    fn is_done(&self) -> bool;
    /// Whether the client may be told of it: something came that is content.
    fn has_content(&self) -> bool;
    /// Events held back so far.
    fn events(&self) -> usize;
    /// Bytes that it holds back of what it took.
    fn held_bytes(&self) -> usize {
        0
    }
    /// Tokens used, if the provider said.
    fn usage(&self) -> Option<Usage>;
    /// About how many tokens of output came, for where the provider does not say.
    fn output_estimate(&self) -> u64;
    /// The model served, if the provider said; to be asked for once.
    fn model(&mut self) -> Option<String>;
    /// Where it lies, and another part of it.
    fn extents(&self) -> [Extent; 2] {
        [Extent::of(self), Extent::default()]
    }
}

/// Why a stream ended before it was complete.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What the client and the log are told.
    pub fault: Fault,
    /// The status that an error event stood for.
    pub status: Option<u16>,
    /// Whether the provider's own error event is on its way to the client already.
    pub told: bool,
}

impl Ended {
    pub(super) fn by_event(error: StreamError, told: bool) -> Ended {
        let StreamError { status, kind, message } = error;
        let mut fault = Fault::new(Stage::Relay, Source::Upstream, Kind::UpstreamError, message);
        fault.told = Some(Box::new(Told { status, kind }));
        Ended { fault, status: Some(status), told }
    }

    pub(super) fn broken(kind: Kind, message: String) -> Ended {
        let fault = Fault::new(Stage::Relay, Source::Upstream, kind, message);
        Ended { fault, status: None, told: false }
    }

    pub(super) fn early() -> Ended {
        Ended::broken(
            Kind::Truncated,
            "the upstream ended its answer before it was complete".into(),
        )
    }
}

/// Bytes that are passed as they are; usage and model are picked up on the way if they are JSON.
pub struct Opaque {
    tap: Option<Tap>,
    /// Nothing but its own syntax tells whether the body is complete.
    ends_anywhere: bool,
    /// It should be an object.
    object: bool,
    adapter: &'static dyn Adapter,
    endpoint: Endpoint,
    bytes: u64,
    /// What the tap told; it counts unless the tap is lost. The provider's code reads the usage when the answer is out.
    usage: Vec<u8>,
    model: Option<String>,
}

const TAPPED: &[&str] = &["usage", "model"];
/// The place of the usage among [`TAPPED`].
const USAGE: usize = 0;

impl Opaque {
    /// `json`: the body says that it is JSON in the clear. `ends_anywhere`: it ends where its connection
    /// does. `object`: a model writes it, as an object.
    pub fn new(
        adapter: &'static dyn Adapter,
        endpoint: Endpoint,
        json: bool,
        ends_anywhere: bool,
        object: bool,
    ) -> Opaque {
        let tap = json.then(|| Tap::new(TAPPED));
        Opaque {
            tap,
            ends_anywhere,
            object,
            adapter,
            endpoint,
            bytes: 0,
            usage: Vec::new(),
            model: None,
        }
    }

    /// Whether it has been JSON so far, so that what the tap told counts.
    fn is_sound(&self) -> bool {
        self.tap.as_ref().is_some_and(|tap| !tap.is_lost())
    }
}

impl Digest for Opaque {
    fn piece(&mut self, piece: Bytes, out: &mut Pieces) -> Result<(), Ended> {
        let Opaque { tap, usage, model, .. } = self;
        if let Some(tap) = tap {
            tap.push(&piece, |which, raw| match which {
                USAGE => {
                    usage.clear();
                    usage.extend_from_slice(raw);
                }
                _ => *model = json::as_str(raw).map(std::borrow::Cow::into_owned),
            });
        }
        self.bytes += piece.len() as u64;
        out.push(piece);
        Ok(())
    }

    fn end(&mut self, _out: &mut Pieces) -> Result<(), Ended> {
        match &self.tap {
            Some(tap) if self.ends_anywhere && tap.wants_more() => Err(Ended::early()),
            _ => Ok(()),
        }
    }

    fn is_broken(&self) -> bool {
        self.object && self.tap.as_ref().is_some_and(|tap| !tap.complete())
    }

    fn is_done(&self) -> bool {
        false
    }

    fn has_content(&self) -> bool {
        false
    }

    fn events(&self) -> usize {
        0
    }

    fn usage(&self) -> Option<Usage> {
        let known = self.is_sound() && !self.usage.is_empty();
        if known { self.adapter.usage(self.endpoint, &self.usage) } else { None }
    }

    fn output_estimate(&self) -> u64 {
        estimate::of_answer(self.bytes)
    }

    fn model(&mut self) -> Option<String> {
        if self.is_sound() { self.model.take() } else { None }
    }
}

/// Joins the pieces of a chunk with its framing, or leaves them bare.
pub fn frame_chunk(pieces: &mut Pieces, out: &mut crate::io::buffer::WriteList) {
    let length = pieces.iter().map(Bytes::len).sum();
    let Some(length) = std::num::NonZeroUsize::new(length) else { return };
    out.push(crate::wire::render::chunk_prefix(length));
    out.extend(pieces.drain(..));
    out.push(Bytes::from_static(crate::wire::render::CHUNK_END));
}
