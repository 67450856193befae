//! A stream on its way under guardrails: a digest around another, which holds back what must be judged first, and the
//! judgement at the end.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use bytes::{Bytes, BytesMut};

use super::{
    arriving::Arriving,
    client::{Client, Interrupted, gone},
    digest::{Digest, Ended, Pieces},
    guardrail::{Judged, Scene},
    verdict,
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        units::UnixTime,
    },
    chat::usage::Usage,
    dialect::Dialect,
    io::net::{Net, Reader, Writer},
    policy::{
        attempt::{DENIED_STATUS, FAILED_STATUS},
        guardrail::{GuardrailResult, results::side_json, stream::Holding},
    },
    wire::sse,
};

/// What the digest and the judgement share.
pub type Shared = Rc<RefCell<Holding>>;

/// What the guardrails of answers found, gathered for the record.
pub type Found = Rc<RefCell<Vec<GuardrailResult>>>;

/// Events of the client's format, held back until they may go.
pub struct Guarded {
    inner: Box<dyn Digest>,
    scanner: sse::Scanner,
    /// The beginning of an event whose end has not come.
    tail: BytesMut,
    holding: Shared,
    /// Sent before everything else.
    first: Option<Bytes>,
    early: Found,
    input: Rc<[GuardrailResult]>,
    now: UnixTime,
}

impl Guarded {
    /// Around `inner`. `first`: an event that comes before all others.
    pub fn new(
        inner: Box<dyn Digest>,
        stream: &StreamGuard,
        first: Option<Bytes>,
        now: UnixTime,
    ) -> Guarded {
        Guarded {
            inner,
            scanner: sse::Scanner::new(),
            tail: BytesMut::new(),
            holding: Rc::clone(&stream.holding),
            first,
            early: Rc::clone(&stream.results),
            input: Rc::clone(&stream.input),
            now,
        }
    }

    /// Takes what the inner digest gave out, event by event.
    fn hold(&mut self, pieces: Pieces) -> Result<(), Ended> {
        let content = self.inner.has_content();
        let mut too_long = false;
        for piece in pieces {
            let Guarded { scanner, tail, holding, .. } = self;
            let mut holding = holding.borrow_mut();
            let mut start = 0;
            let scanned = scanner.push(&piece, |event| {
                let bytes = match tail.is_empty() {
                    true => piece.slice(start..event.end),
                    false => {
                        tail.extend_from_slice(&piece[start..event.end]);
                        tail.split().freeze()
                    }
                };
                start = event.end;
                holding.take(bytes, event.name, event.data, content);
            });
            too_long |= scanned.is_err();
            tail.extend_from_slice(&piece[start..]);
        }
        match too_long {
            true => Err(Ended::broken(Kind::Protocol, TOO_LONG.to_owned())),
            false => Ok(()),
        }
    }

    fn release(&mut self, out: &mut Pieces) -> Result<(), Ended> {
        let mut freed = Vec::new();
        let released = self.holding.borrow_mut().release(&mut freed);
        if !freed.is_empty() {
            out.extend(self.first.take());
        }
        out.extend(freed);
        released.map_err(|denied| {
            let result = verdict::early_result(*denied, self.now);
            let fault = verdict::denied(Stage::Relay, &self.input, std::slice::from_ref(&result));
            self.early.borrow_mut().push(result);
            denied_end(fault)
        })
    }
}

impl Digest for Guarded {
    fn piece(&mut self, piece: Bytes, out: &mut Pieces) -> Result<(), Ended> {
        let mut pieces = Pieces::new();
        let taken = self.inner.piece(piece, &mut pieces);
        let held = self.hold(pieces);
        // What came before an error event of the provider's is judged before the error is told.
        self.release(out)?;
        held?;
        if let Err(ended) = taken {
            // What is held was not judged and stays here; the provider's own error event may be among it.
            let told = ended.told && self.holding.borrow().held_bytes() == 0;
            return Err(Ended { told, ..ended });
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Pieces) -> Result<(), Ended> {
        let mut pieces = Pieces::new();
        self.inner.end(&mut pieces)?;
        self.hold(pieces)?;
        // Bytes behind the last event belong to none.
        if !self.tail.is_empty() {
            let rest = self.tail.split().freeze();
            self.holding.borrow_mut().take(rest, b"", b"", true);
        }
        out.extend(self.first.take());
        Ok(())
    }

    fn is_broken(&self) -> bool {
        self.inner.is_broken()
    }

    fn is_done(&self) -> bool {
        self.inner.is_done()
    }

    fn has_content(&self) -> bool {
        self.holding.borrow().has_released_content()
    }

    fn events(&self) -> usize {
        self.holding.borrow().released()
    }

    fn held_bytes(&self) -> usize {
        self.holding.borrow().held_bytes()
    }

    fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }

    fn output_estimate(&self) -> u64 {
        self.inner.output_estimate()
    }

    fn model(&mut self) -> Option<String> {
        self.inner.model()
    }
}

/// What a stream is judged by when it has come to its end.
pub struct StreamGuard {
    /// What is held of it.
    pub holding: Shared,
    /// What guardrails of the request found.
    pub input: Rc<[GuardrailResult]>,
    /// What guardrails of the answer found.
    pub results: Found,
    /// Whether the results are told in the stream.
    pub tells: bool,
    /// The client's dialect.
    pub dialect: Dialect,
    judge: Judge,
    is_judged: Cell<bool>,
}

/// The judgement, without the type of the machine: the relay's passage has none.
type Judge = Box<dyn Fn(Judged) -> Pending>;
type Pending = std::pin::Pin<Box<dyn Future<Output = Vec<GuardrailResult>>>>;

impl StreamGuard {
    /// For the guardrails of `holding`.
    pub fn new<N: Net>(
        scene: &Scene<N>,
        holding: Holding,
        (input, results): (Rc<[GuardrailResult]>, Found),
        tells: bool,
        dialect: Dialect,
    ) -> StreamGuard {
        let guardrails: Rc<[_]> = holding.guardrails().iter().map(Arc::clone).collect();
        let scene = Rc::new(scene.clone());
        let judge: Judge = Box::new(move |judged| {
            let (scene, guardrails) = (Rc::clone(&scene), Rc::clone(&guardrails));
            Box::pin(async move { scene.run(&guardrails, &RefCell::new(judged)).await })
        });
        StreamGuard {
            holding: Rc::new(RefCell::new(holding)),
            input,
            results,
            tells,
            dialect,
            judge,
            is_judged: Cell::new(false),
        }
    }

    /// What was said, as far as it is judged.
    pub fn judged(&self) -> Judged {
        let (text, too_long) = self.holding.borrow().text();
        Judged { body: Bytes::new(), text, too_long, rewritten: false }
    }

    /// Judges a stream that is complete, once, and lets go what is held. What failed and passes is a 246 while the head
    /// is not out.
    pub async fn finish<N: Net, R: Reader, W: Writer>(
        &self,
        client: &mut Client<N, R, W>,
        arriving: &mut Arriving<N>,
    ) -> Result<(), Ended> {
        if self.is_judged.replace(true) {
            return Ok(());
        }
        let total = arriving.patience.total;
        let judging = (self.judge)(self.judged());
        let results = match client.unless_gone(total.by, judging).await {
            Ok(results) => results,
            Err(Interrupted::ClientGone) => {
                let fault = gone("the client closed while its answer was judged");
                return Err(Ended { fault, status: None, told: true });
            }
            Err(Interrupted::Deadline) => {
                let fault = total.ran_out(Stage::Relay);
                return Err(Ended { fault, status: None, told: false });
            }
        };
        let denies = results.iter().any(GuardrailResult::denies);
        let fails = results.iter().chain(self.input.iter()).any(GuardrailResult::fails);
        if denies {
            let fault = verdict::denied(Stage::Relay, &self.input, &results);
            self.results.borrow_mut().extend(results);
            return Err(denied_end(fault));
        }
        let last = (self.tells && !results.is_empty())
            .then(|| results_event(self.dialect, "after_request_hooks", &results));
        let mut freed = Vec::new();
        self.holding.borrow_mut().finish(last, &mut freed);
        arriving.pieces.extend(freed);
        self.results.borrow_mut().extend(results);
        if fails && client.answered.is_none() {
            arriving.answer.head.status = FAILED_STATUS;
        }
        Ok(())
    }
}

/// An event that tells results, as Portkey writes it.
pub fn results_event(dialect: Dialect, side: &str, results: &[GuardrailResult]) -> Bytes {
    let mut out = Vec::new();
    let name = (dialect != Dialect::OpenAi).then_some("hook_results");
    sse::write_event(name, side_json(side, results).to_string().as_bytes(), &mut out);
    Bytes::from(out)
}

/// An answer that guardrails deny.
pub fn denied_end(fault: Fault) -> Ended {
    Ended { fault, status: Some(DENIED_STATUS), told: false }
}

/// A stream that cannot be judged.
pub fn unreadable() -> Ended {
    let message =
        "the upstream encoded its answer though that was not asked for: it cannot be judged";
    let fault = Fault::new(Stage::Relay, Source::Upstream, Kind::Protocol, message);
    Ended { fault, status: None, told: false }
}

const TOO_LONG: &str = "an event of the upstream is longer than what can be judged";
