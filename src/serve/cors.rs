//! Calls from web pages of other origins (CORS): who may, what an answer's head says of it, and the preflight.

use bytes::Bytes;

use super::{
    client::Client,
    connection::{After, Incoming},
    rescue,
    respond::Notes,
};
use crate::{
    base::{
        fault::{Fault, Kind},
        limits,
    },
    config::{Config, edge::Cors},
    io::net::{Net, Reader, Writer},
    journal::entry::Entry,
    wire::{
        head::Method,
        render::{HeadWriter, RenderError},
    },
};

/// Whether a page may read the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing<'a> {
    /// Nothing is configured: heads say nothing of it.
    #[default]
    Off,
    /// The request comes from no page, or from one of an origin that is not listed.
    Withheld,
    /// Pages of this origin, or of any (`*`), may.
    With(&'a str),
}

impl<'a> Sharing<'a> {
    /// What holds for a request.
    pub fn of(incoming: &'a Incoming, config: &Config) -> Sharing<'a> {
        let Some(cors) = &config.edge.cors else { return Sharing::Off };
        match incoming.header("origin").filter(|origin| cors.admits(origin)) {
            None => Sharing::Withheld,
            Some(_) if *cors == Cors::Any => Sharing::With("*"),
            Some(origin) => Sharing::With(origin),
        }
    }

    /// Whether an upstream's header would speak in Trunkline's place.
    pub fn withholds(self, name: &[u8]) -> bool {
        self != Sharing::Off
            && name
                .get(..PREFIX.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()))
    }

    /// Writes what an answer's head says. A cache must know that it depends on the origin, also where nothing else
    /// is said.
    pub fn write(self, head: &mut HeadWriter<'_>) -> Result<(), RenderError> {
        if self == Sharing::Off {
            return Ok(());
        }
        head.known_line([b"vary: origin"]);
        if let Sharing::With(origin) = self {
            head.header("access-control-allow-origin", origin)?;
            head.known_line([EXPOSED]);
        }
        Ok(())
    }
}

/// Whether a request that no route takes asks what a page may do.
pub fn is_preflight(incoming: &Incoming, fault: &Fault, sharing: Sharing<'_>) -> bool {
    matches!(sharing, Sharing::With(_))
        && incoming.head().method == Method::Options
        && matches!(fault.kind, Kind::Method | Kind::NoRoute)
        && incoming.header("access-control-request-method").is_some()
}

/// Answers a preflight: every route and header of the API may be asked for; whoever asks still needs a key.
pub async fn preflight<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
    entry: &mut Entry<'_>,
    notes: &mut Notes<'_>,
) -> After {
    notes.timing.now = client.now();
    notes.last = client.core.draining.get();
    entry.status = 200;
    let mut seconds = itoa::Buffer::new();
    // A wildcard would not cover `authorization`.
    let headers = incoming.header("access-control-request-headers").unwrap_or("authorization");
    let extra = [
        ("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE"),
        ("access-control-allow-headers", headers),
        ("access-control-max-age", seconds.format(limits::CORS_MAX_AGE.as_secs())),
        ("vary", "access-control-request-headers"),
    ];
    rescue::local(client, incoming, 200, "text/plain", Bytes::new(), notes, &extra).await
}

/// What the headers begin with that say what pages may do.
const PREFIX: &str = "access-control-";
/// What a page may read of an answer's head: all of it, as no answer depends on cookies; by name for browsers that do
/// not know the star.
const EXPOSED: &[u8] = b"access-control-expose-headers: *, x-portkey-trace-id, x-portkey-provider, \
x-portkey-last-used-option-index, x-portkey-retry-attempt-count, x-portkey-cache-status, \
x-trunkline-request-id, x-trunkline-dropped-params, x-trunkline-error-source, server-timing, retry-after";
