//! What a request asks, as far as routing must know: its body with the top level scanned.

use std::borrow::Cow;

use bytes::Bytes;

use super::{body, client::Client, connection::Incoming, route::Call};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        units::Instant,
    },
    config::Config,
    io::net::{Net, Reader, Writer},
    wire::{
        head::{Framing, Method},
        json::{self, Fields},
    },
};

/// A request's body.
pub enum Question {
    /// None, or one that is no JSON and small enough to be held.
    Opaque(Bytes),
    /// A JSON object.
    Json {
        /// The object, byte for byte.
        body: Bytes,
        /// Its top level.
        fields: Fields,
    },
    /// Not read yet: it is passed on as it comes, to one target.
    Upload,
}

impl Question {
    /// Reads what must be read before a target can be chosen.
    pub async fn read<N: Net, R: Reader, W: Writer>(
        client: &mut Client<N, R, W>,
        incoming: &Incoming,
        call: &Call<'_>,
        config: &Config,
        total_by: Instant,
    ) -> Result<Question, Fault> {
        let is_json = is_to_be_json(incoming, call)?;
        if is_upload(incoming, is_json, config) {
            return Ok(Question::Upload);
        }
        let body = body::read(client, incoming, config.limits.body_bytes, total_by).await?;
        client.body_pending = false;
        client.note_request(&body);
        Question::of(body, is_json, incoming.head().method, call)
    }

    /// Of a body that is there whole, of a request that is not sent; an upload stays one.
    pub fn offline(
        incoming: &Incoming,
        call: &Call<'_>,
        config: &Config,
        body: Bytes,
    ) -> Result<Question, Fault> {
        let is_json = is_to_be_json(incoming, call)?;
        if is_upload(incoming, is_json, config) {
            return Ok(Question::Upload);
        }
        Question::of(body, is_json, incoming.head().method, call)
    }

    fn of(body: Bytes, is_json: bool, method: Method, call: &Call<'_>) -> Result<Question, Fault> {
        if !is_json || (body.is_empty() && method != Method::Post) {
            return Ok(Question::Opaque(body));
        }
        match json::scan(&body) {
            Ok(fields) => Ok(Question::Json { body, fields }),
            // A pass-through route may take JSON that is no object; only typed routes must be understood.
            Err(_) if !call.typed => Ok(Question::Opaque(body)),
            Err(error) => {
                Err(Fault::new(Stage::Body, Source::Client, Kind::BadJson, error.message()))
            }
        }
    }

    /// The raw JSON of a top-level field.
    pub fn field(&self, name: &str) -> Option<&[u8]> {
        match self {
            Question::Json { body, fields } => fields.value(body, name),
            Question::Opaque(_) | Question::Upload => None,
        }
    }

    /// The body and its top level, if it is a JSON object that was read.
    pub fn object(&self) -> Option<(&[u8], &Fields)> {
        match self {
            Question::Json { body, fields } => Some((body, fields)),
            Question::Opaque(_) | Question::Upload => None,
        }
    }

    /// The model that the body names. A second spelling of the key is refused: servers that compare keys without
    /// case would take the one that no rule has looked at.
    pub fn model(&self) -> Result<Option<Cow<'_, str>>, Fault> {
        if let Question::Json { body, fields } = self
            && fields.has_case_twin(body, "model")
        {
            let message = "the body has a second key that differs from `model` in case only";
            let fault = Fault::new(Stage::Body, Source::Client, Kind::BadRequest, message);
            return Err(fault.at("model"));
        }
        match self.field("model") {
            None => Ok(None),
            Some(raw) if json::is_null(raw) => Ok(None),
            Some(raw) => match json::as_str(raw) {
                Some(model) => Ok(Some(model)),
                None => Err(Fault::new(
                    Stage::Body,
                    Source::Client,
                    Kind::BadRequest,
                    "`model` must be a string, e.g. \"gpt-4o-mini\"",
                )
                .at("model")),
            },
        }
    }
}

/// Whether the body must be, or says that it is, JSON.
fn is_to_be_json(incoming: &Incoming, call: &Call<'_>) -> Result<bool, Fault> {
    let media = media_type(incoming).unwrap_or_default();
    if media.is_empty() {
        return Ok(call.typed);
    }
    let json = is_json(media);
    if call.typed && !json {
        return Err(wrong_media(media));
    }
    Ok(json)
}

/// A body that is not held: too large, or of no known length, or of a kind that routing learns nothing from.
fn is_upload(incoming: &Incoming, is_json: bool, config: &Config) -> bool {
    match incoming.framing {
        Framing::None | Framing::UntilClose | Framing::Length(0) => false,
        Framing::Length(_) | Framing::Chunked if is_json => false,
        Framing::Length(length) => {
            let media = media_type(incoming).unwrap_or_default();
            length > config.limits.body_bytes || media.starts_with("multipart/")
        }
        Framing::Chunked => true,
    }
}

fn media_type(incoming: &Incoming) -> Option<&str> {
    let value = incoming.header("content-type")?;
    if value == JSON {
        return Some(value); // as nearly everybody writes it
    }
    Some(value.split_once(';').map_or(value, |(media, _)| media).trim())
}

const JSON: &str = "application/json";

fn is_json(media: &str) -> bool {
    media == JSON
        || media.eq_ignore_ascii_case(JSON)
        || media.len() > 5
            && media.get(media.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case("+json"))
}

/// What a JSON route says to another content type: Portkey's first check, and the narrower one of its own.
fn wrong_media(media: &str) -> Fault {
    let starts = |prefix: &str| {
        media.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let known = media.eq_ignore_ascii_case("multipart/form-data") || starts("audio/");
    let (kind, message) = match known {
        true => (Kind::ContentType, "this route takes JSON: send content-type: application/json"),
        false => (Kind::BadConfig, "Invalid content type passed"),
    };
    Fault::new(Stage::Head, Source::Client, kind, message).at("content-type")
}
