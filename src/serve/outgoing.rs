//! The request to one target: its body by splice where the formats agree, by translation where not.

use std::borrow::Cow;

use bytes::Bytes;

use super::{connection::Incoming, outgoing_head::Standing, question::Question, route::Call};
use crate::{
    base::fault::{Fault, Kind, Source, Stage},
    config::policy::Leaf,
    dialect,
    policy::{key::Caller, params, resolve::ResolvedTarget},
    provider::{Adapter, Endpoint, Fit, Rendered},
    wire::{
        json::{self, Edit, Fields},
        render::RenderError,
    },
};

/// A request, ready to be written.
pub struct Outgoing {
    /// Head and body, in order.
    pub parts: Vec<Bytes>,
    /// How the provider serves it.
    pub fit: Fit,
    /// Whether a stream is asked for, after overrides.
    pub stream: bool,
    /// Whether usage is asked for on the client's behalf, and to be kept from it.
    pub withhold_usage: bool,
    /// Parameters that the provider has no counterpart for.
    pub dropped: Vec<Cow<'static, str>>,
}

impl Outgoing {
    /// Bytes that were written anew, and are no part of the client's body.
    pub fn rendered_bytes(&self) -> usize {
        match self.fit {
            Fit::Translate => self.parts.iter().map(Bytes::len).sum(),
            _ => 0,
        }
    }
}

/// What an outgoing request is made of.
pub struct Sources<'a> {
    /// The client's head.
    pub incoming: &'a Incoming,
    /// What it calls.
    pub call: &'a Call<'a>,
    /// Who calls.
    pub caller: &'a Caller<'a>,
    /// What it asks.
    pub question: &'a Question,
    /// The model to write in, if the client wrote it with a `@virtual-key/` prefix.
    pub rewritten_model: Option<&'a str>,
    /// Where it goes.
    pub target: &'a ResolvedTarget<'a>,
    /// What the config says of it.
    pub leaf: &'a Leaf,
    /// Where that stands.
    pub standing: Standing,
    /// The epoch.
    pub epoch: u64,
}

impl Sources<'_> {
    /// Builds the request. An error makes this target unfit.
    pub fn build(&self) -> Result<Outgoing, Fault> {
        let adapter = self.target.adapter;
        let fit = adapter.fit(self.call.endpoint);
        let mut outgoing = Outgoing {
            parts: Vec::with_capacity(4),
            fit,
            stream: false,
            withhold_usage: false,
            dropped: Vec::new(),
        };
        outgoing.parts.push(Bytes::new()); // the head's place: its length is known last
        let length = match (self.question, fit) {
            (_, Fit::Unfit) => return Err(no_such_endpoint(adapter, self.call)),
            (Question::Upload, _) => None,
            (Question::Opaque(body), _) => {
                outgoing.parts.push(body.clone());
                Some(body.len())
            }
            (Question::Json { body, fields }, Fit::Same) => {
                Some(self.splice(body, fields, &mut outgoing))
            }
            (Question::Json { body, fields }, Fit::Translate) => {
                Some(self.translate(body, fields, &mut outgoing)?)
            }
        };
        outgoing.parts[0] = self.head(fit, length, &outgoing).map_err(unwritable)?;
        Ok(outgoing)
    }

    /// The client's body with what the config and the provider's row change, and nothing else.
    fn splice(&self, body: &Bytes, fields: &Fields, outgoing: &mut Outgoing) -> usize {
        let options = StreamOptions::of(self, body, fields);
        let (model, include);
        let pruned = params::pruned(self.leaf, body, fields);
        let mut edits = params::edits(self.leaf, body, fields, &pruned);
        if let Some(name) = self.model_to_write() {
            model = name;
            edits.push(Edit::Set { name: "model", raw_json: &model });
        }
        if is_chat(self.call.endpoint) {
            let renames = self.target.adapter.renames().iter();
            edits.extend(renames.map(|(from, to)| Edit::Rename { from, to }));
        }
        outgoing.stream = options.stream;
        if options.stream && !options.include_usage && self.may_ask_for_usage() {
            include = options.with_usage;
            edits.push(Edit::Set { name: "stream_options", raw_json: &include });
            outgoing.withhold_usage = true;
        }
        if edits.is_empty() {
            outgoing.parts.push(body.clone());
            return body.len();
        }
        let spliced = json::splice(body, fields, &edits);
        outgoing.parts.extend(spliced.pieces);
        spliced.length
    }

    /// The client's body in the provider's format.
    fn translate(
        &self,
        body: &Bytes,
        fields: &Fields,
        outgoing: &mut Outgoing,
    ) -> Result<usize, Fault> {
        let model;
        let pruned = params::pruned(self.leaf, body, fields);
        let mut edits = params::edits(self.leaf, body, fields, &pruned);
        if let Some(name) = self.model_to_write() {
            model = name;
            edits.push(Edit::Set { name: "model", raw_json: &model });
        }
        let mut whole = Vec::with_capacity(body.len() + 64);
        json::splice(body, fields, &edits).pieces.iter().for_each(|p| whole.extend_from_slice(p));
        let request = dialect::speak::read(self.call.dialect, &mut whole).map_err(malformed)?;
        outgoing.stream = request.stream;
        // Usage is written into a translated stream only if the client asked.
        outgoing.withhold_usage = !request.include_usage;
        let rendered = self.target.adapter.render(&request).map_err(|unfit| {
            Fault::new(Stage::Plan, Source::Client, Kind::Inexpressible, unfit.message)
                .at(unfit.field)
        })?;
        let Rendered { body, dropped, unknown } = rendered;
        outgoing.dropped.extend(dropped.into_iter().map(Cow::Borrowed));
        outgoing.dropped.extend(unknown.into_iter().map(Cow::Owned));
        let length = body.len();
        outgoing.parts.push(Bytes::from(body));
        Ok(length)
    }

    /// The model as JSON, where the client's spelling had a prefix that no override replaces.
    fn model_to_write(&self) -> Option<Vec<u8>> {
        let overridden = self.leaf.override_params.iter().any(|(name, _)| name == "model");
        let left_alone = !overridden && !params::drops(self.leaf, "model");
        let model = self.rewritten_model.filter(|_| left_alone)?;
        let mut raw = Vec::with_capacity(model.len() + 2);
        json::write_string(model, &mut raw);
        Some(raw)
    }

    fn may_ask_for_usage(&self) -> bool {
        matches!(self.call.endpoint, Endpoint::ChatCompletions | Endpoint::Completions)
            && self.target.adapter.takes_include_usage()
    }
}

/// Whether a stream and its usage are asked for, after overrides.
struct StreamOptions {
    stream: bool,
    include_usage: bool,
    /// The client's `stream_options` with `include_usage` added.
    with_usage: Cow<'static, [u8]>,
}

impl StreamOptions {
    fn of(sources: &Sources<'_>, body: &Bytes, fields: &Fields) -> StreamOptions {
        let value = |name: &str| params::effective(sources.leaf, body, fields, name);
        let stream = value("stream").and_then(json::as_bool) == Some(true);
        let mut options = StreamOptions {
            stream,
            // Dropped by the config: the provider does not take the field at all.
            include_usage: params::drops(sources.leaf, "stream_options"),
            with_usage: Cow::Borrowed(b"{\"include_usage\":true}"),
        };
        let given = if stream { value("stream_options") } else { None };
        if let Some(raw) = given.filter(|raw| !json::is_null(raw)) {
            options.read(raw);
        }
        options
    }

    fn read(&mut self, raw: &[u8]) {
        // Not an object: the provider will say so; nothing of it is touched.
        let Ok(nested) = json::scan(raw) else {
            self.include_usage = true;
            return;
        };
        let asked = nested.value(raw, "include_usage").and_then(json::as_bool);
        self.include_usage = asked == Some(true);
        let raw = Bytes::copy_from_slice(raw);
        let edit = Edit::Set { name: "include_usage", raw_json: b"true" };
        let spliced = json::splice(&raw, &nested, &[edit]);
        self.with_usage = spliced.pieces.iter().flatten().copied().collect();
    }
}

fn is_chat(endpoint: Endpoint) -> bool {
    matches!(endpoint, Endpoint::ChatCompletions | Endpoint::Completions)
}

fn no_such_endpoint(adapter: &dyn Adapter, call: &Call<'_>) -> Fault {
    let message = format!("/v1{} is not supported by {}", call.rest, adapter.name());
    Fault::new(Stage::Plan, Source::Client, Kind::Inexpressible, message)
}

/// The message names the field itself: the errors of some dialects have no place of their own for it.
fn malformed(malformed: dialect::Malformed) -> Fault {
    let dialect::Malformed { field, message } = malformed;
    let fault = |message| Fault::new(Stage::Body, Source::Client, Kind::BadRequest, message);
    if field.is_empty() { fault(message) } else { fault(format!("{field}: {message}")).at(field) }
}

fn unwritable(error: RenderError) -> Fault {
    Fault::new(Stage::Plan, Source::Client, Kind::BadRequest, error.message())
}
