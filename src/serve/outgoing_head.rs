//! The head of the request to one target: the provider's headers and the client's, as far as each may go there.

use bytes::{Bytes, BytesMut};

use super::outgoing::{Outgoing, Sources};
use crate::{
    base::{ids::VirtualKeyId, limits},
    config::policy::Leaf,
    policy::{request_headers::never_forwarded, target::PolicyRef},
    provider::Fit,
    wire::{
        head::{Framing, Method},
        render::{HeadWriter, RenderError},
    },
};

/// Where what is said of a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In the file, where it lies for as long as its epoch.
    File,
    /// In the headers alone.
    Bare,
    /// In a config that came with the request.
    Request,
}

impl Standing {
    /// Where the targets of a policy stand.
    pub fn of(policy: &PolicyRef<'_>) -> Standing {
        match policy {
            PolicyRef::Named(..) => Standing::File,
            PolicyRef::Bare => Standing::Bare,
            PolicyRef::Inline(_) => Standing::Request,
        }
    }
}

/// The lines of a head that was written for a target, all but the one that says how long the body is. The same client
/// head on the same occasion gives the same lines.
pub struct Written {
    occasion: Occasion,
    lines: Box<[u8]>,
}

/// What decides, beside the client's head, what its lines are. Within an epoch, a target of the file and a credential
/// are known by where they lie; a credential of the caller's own lies in the client's head.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Occasion {
    epoch: u64,
    leaf: Option<*const Leaf>,
    provider: &'static str,
    virtual_key: Option<VirtualKeyId>,
    credential: Option<*const str>,
    stream: bool,
}

impl Sources<'_> {
    /// Writes the head.
    pub(super) fn head(
        &self,
        fit: Fit,
        length: Option<usize>,
        outgoing: &Outgoing,
    ) -> Result<Bytes, RenderError> {
        let incoming = self.incoming;
        let mut out = BytesMut::with_capacity(limits::UPSTREAM_HEAD_BYTES_USUAL);
        let occasion = self.occasion(outgoing.stream);
        let written = incoming.seen.written.borrow();
        let known = written.as_ref().filter(|known| Some(&known.occasion) == occasion.as_ref());
        let mut head = match known {
            Some(known) => HeadWriter::resume(&mut out, &known.lines),
            None => self.lines(&mut out, fit, outgoing.stream)?,
        };
        if let (None, true, Some(occasion)) = (known, incoming.repeated, occasion) {
            drop(written);
            let lines = head.written().into();
            *incoming.seen.written.borrow_mut() = Some(Written { occasion, lines });
        }
        match (length, incoming.framing) {
            (Some(0), _) if !has_body_by_method(incoming.head().method) => {}
            (Some(length), _) => head.length(length as u64)?,
            (None, Framing::Length(length)) => head.length(length)?,
            (None, _) => head.chunked()?,
        }
        head.finish();
        Ok(out.freeze())
    }

    /// What decides how the lines of a head look, beside the client's head; `None`: it lasts no longer than the
    /// request.
    fn occasion(&self, stream: bool) -> Option<Occasion> {
        let leaf = match self.standing {
            Standing::File => Some(std::ptr::from_ref(self.leaf)),
            Standing::Bare => None,
            Standing::Request => return None,
        };
        Some(Occasion {
            epoch: self.epoch,
            leaf,
            provider: self.target.adapter.name(),
            virtual_key: self.target.virtual_key,
            credential: self.target.credential.map(|held| std::ptr::from_ref(held.reveal())),
            stream,
        })
    }

    /// Begins the head: all its lines but the one that says how long the body is.
    fn lines<'o>(
        &self,
        out: &'o mut BytesMut,
        fit: Fit,
        stream: bool,
    ) -> Result<HeadWriter<'o>, RenderError> {
        let Sources { incoming, call, target, .. } = self;
        let path = target.adapter.path(call.endpoint, call.rest);
        let query = if fit == Fit::Same { incoming.query() } else { "" };
        let parts = [target.origin.path.as_bytes(), path.as_bytes(), query.as_bytes()];
        let mut head = HeadWriter::request(out, incoming.method(), &parts)?;
        head.own("host", &target.origin.authority)?;
        self.provider_headers(&mut head)?;
        if call.typed {
            self.typed_headers(&mut head, fit, stream)?;
        } else {
            self.all_headers(&mut head)?;
        }
        Ok(head)
    }

    /// The credential and the provider's own headers.
    fn provider_headers(&self, head: &mut HeadWriter<'_>) -> Result<(), RenderError> {
        let lookup = self.client_headers();
        let credential = self.target.credential.map(|held| held.reveal());
        let mut outcome = Ok(());
        self.target.adapter.headers(credential, &lookup, &mut |name, value| {
            if outcome.is_ok() {
                outcome = head.header(name, value);
            }
        });
        outcome
    }

    /// A client header as the adapter may see it: Trunkline's own through the rules of the target, never a credential.
    /// Others only where the client speaks the provider's format: a version that it states is not the one that a
    /// translated body is written in.
    fn client_header<'s>(&'s self, name: &str) -> Option<&'s str> {
        let own = name.strip_prefix("x-portkey-").or_else(|| name.strip_prefix("x-trunkline-"));
        match own {
            Some(option) => self.target.option(option),
            None if is_carrier(name) || self.is_translated() => None,
            None => self.incoming.header(name),
        }
    }

    fn is_translated(&self) -> bool {
        self.target.adapter.fit(self.call.endpoint) == Fit::Translate
    }

    fn client_headers<'s>(&'s self) -> impl Fn(&str) -> Option<&'s str> {
        move |name| self.client_header(name)
    }

    fn typed_headers(
        &self,
        head: &mut HeadWriter<'_>,
        fit: Fit,
        stream: bool,
    ) -> Result<(), RenderError> {
        let content_type = self.incoming.header("content-type").filter(|_| fit == Fit::Same);
        head.own("content-type", content_type.unwrap_or("application/json"))?;
        let accept = self.incoming.header("accept").filter(|_| fit == Fit::Same);
        let default = if stream { "text/event-stream" } else { "application/json" };
        head.own("accept", accept.unwrap_or(default))?;
        head.own("accept-encoding", "identity")?;
        for name in ["traceparent", "tracestate"] {
            if let Some(value) = self.incoming.header(name) {
                head.header(name, value)?;
            }
        }
        for name in self.target.forward_headers {
            if self.is_forwardable(name) {
                for value in self.incoming.head().all(self.incoming.bytes(), name) {
                    head.header(name, value)?;
                }
            }
        }
        Ok(())
    }

    fn is_forwardable(&self, name: &str) -> bool {
        let own = name.starts_with("x-portkey-") || name.starts_with("x-trunkline-");
        !own && !never_forwarded(name)
            && !self.caller.withholds(name)
            && !is_carrier(name)
            && !TYPED_HEADERS.contains(&name)
            && !self.is_written_by_provider(name)
    }

    /// Pass-through: everything the client sent, but for what belongs to the hop, to Trunkline, or to the credential.
    fn all_headers(&self, head: &mut HeadWriter<'_>) -> Result<(), RenderError> {
        for (name, value) in self.incoming.head().end_to_end(self.incoming.bytes()) {
            let mut lower = [0_u8; limits::HEADER_NAME_BYTES_MAX];
            let Some(lower) = lower.get_mut(..name.len()) else { continue };
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            let Ok(lower) = std::str::from_utf8(lower) else { continue };
            let own = lower.starts_with("x-portkey-") || lower.starts_with("x-trunkline-");
            if own
                || matches!(lower, "host" | "content-length" | "expect")
                || is_carrier(lower)
                || self.is_written_by_provider(lower)
            {
                continue;
            }
            head.header(name, value)?;
        }
        Ok(())
    }

    fn is_written_by_provider(&self, lower: &str) -> bool {
        let mut written = false;
        let lookup = self.client_headers();
        self.target.adapter.headers(None, &lookup, &mut |name, _| {
            written |= name.eq_ignore_ascii_case(lower);
        });
        written
    }
}

fn has_body_by_method(method: Method) -> bool {
    matches!(method, Method::Post | Method::Put | Method::Patch)
}

/// Headers that carry credentials: only the adapter writes one.
fn is_carrier(lower: &str) -> bool {
    matches!(lower, "authorization" | "x-api-key" | "api-key" | "x-goog-api-key")
}

/// Headers that a typed route writes itself.
const TYPED_HEADERS: [&str; 5] =
    ["content-type", "accept", "accept-encoding", "traceparent", "tracestate"];
