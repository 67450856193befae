//! The one error of the request path: where it arose, who is to blame, what it is.
//! `serve/rescue.rs` is the only place that turns one into an HTTP answer.

use std::borrow::Cow;

/// The step of the exchange that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Reading or parsing the request head.
    Head,
    /// Deciding who is calling.
    Auth,
    /// Reading or scanning the request body.
    Body,
    /// Choosing the targets.
    Plan,
    /// Resolving, connecting, the TLS handshake.
    Connect,
    /// Writing the request upstream.
    Send,
    /// Waiting for the answer's head, or for the first event of a stream.
    FirstByte,
    /// Passing the answer on.
    Relay,
}

/// Who is to blame; the value of `x-trunkline-error-source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Source {
    /// The caller sent something wrong.
    Client = 1,
    /// Trunkline itself: a limit, a refusal, a bug.
    Gateway = 2,
    /// The provider answered with an error or broke the protocol.
    Upstream = 3,
    /// Nothing usable came back from the network.
    Network = 4,
}

impl Source {
    /// The word used in headers and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Client => "client",
            Source::Gateway => "gateway",
            Source::Upstream => "upstream",
            Source::Network => "network",
        }
    }
}

/// What went wrong, named after the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The HTTP message is malformed.
    BadRequest = 1,
    /// The body is not the JSON it must be.
    BadJson = 2,
    /// A header or inline config is wrong.
    BadConfig = 3,
    /// A request feature that no target can express.
    Inexpressible = 4,
    /// No API key, or one that is unknown, expired or revoked.
    Unauthenticated = 5,
    /// A provider was named but no credential for it came along.
    NoCredential = 6,
    /// The API key may not do this.
    Forbidden = 7,
    /// A held credential would have gone to a host it was not declared for.
    CredentialRedirected = 8,
    /// No such route.
    NoRoute = 9,
    /// The route does not take this method.
    Method = 10,
    /// The content type is not one the route takes.
    ContentType = 11,
    /// The body is over its limit.
    BodyTooLarge = 12,
    /// The head is over its limit.
    HeadTooLarge = 13,
    /// A deadline other than connect ran out: this one.
    Timeout(Deadline) = 14,
    /// The connect deadline ran out.
    ConnectTimeout = 15,
    /// The upstream could not be reached.
    Unreachable = 16,
    /// The upstream broke HTTP or its own format.
    Protocol = 17,
    /// The upstream ended the answer before it was complete.
    Truncated = 18,
    /// The upstream answered with an error status or an error event.
    UpstreamError = 19,
    /// Trunkline is draining or over a ceiling.
    Overloaded = 20,
    /// The caller went away.
    ClientGone = 21,
    /// A bug, caught.
    Bug = 22,
    /// A guard against server-side request forgery refused the host.
    HostRefused = 23,
    /// The version at hand does not do this.
    NotImplemented = 24,
    /// A guardrail of the config refused the request or its answer.
    Guardrail = 25,
}

/// A deadline other than that of connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deadline {
    /// The client's body paused too long.
    Body,
    /// The upstream did not take the request in time.
    Send,
    /// `request_timeout`.
    Request,
    /// `timeouts.first_byte`.
    FirstByte,
    /// `timeouts.first_token`.
    FirstToken,
    /// `timeouts.idle`.
    Idle,
    /// `timeouts.total`.
    Total,
}

/// One failure on the request path. `message` is shown to the caller and never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it arose.
    pub stage: Stage,
    /// Who is to blame.
    pub source: Source,
    /// What it is.
    pub kind: Kind,
    /// The request field or header at fault, if one is.
    pub param: Option<Cow<'static, str>>,
    /// A sentence for the caller: what was wrong, where, what to write instead.
    pub message: Cow<'static, str>,
    /// Further mistakes of the same kind, for refusals that list them.
    pub details: Vec<String>,
    /// The provider's own account of it, if it gave one.
    pub told: Option<Box<Told>>,
    /// What guardrails found: JSON text, the answer's `hook_results`.
    pub hook_results: Option<Box<str>>,
}

/// What a provider said of an error that came as an event of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The status that it would have answered with before the stream.
    pub status: u16,
    /// Its word for the error.
    pub kind: String,
}

impl Fault {
    /// A fault without a named parameter.
    pub fn new(
        stage: Stage,
        source: Source,
        kind: Kind,
        message: impl Into<Cow<'static, str>>,
    ) -> Fault {
        let message = message.into();
        let details = Vec::new();
        Fault { stage, source, kind, param: None, message, details, told: None, hook_results: None }
    }

    /// The same fault, naming the request field or header at fault.
    #[must_use]
    pub fn at(mut self, param: impl Into<Cow<'static, str>>) -> Fault {
        self.param = Some(param.into());
        self
    }
}
