//! From a request to its answer: whose wire format it is, whether the caller may, what the script says, and which
//! endpoint answers. Pure: chance and time are arguments.

use bytes::Bytes;
use serde_json::Value;
use subtle::ConstantTimeEq;

use super::{
    Sandbox, anthropic,
    dice::Dice,
    embeddings,
    events::Events,
    http::Request,
    openai,
    recorder::Recorder,
    refusal::Refusal,
    responses,
    script::{ErrorBody, Malformed, Script},
    upload,
};
use crate::{base::units::UnixTime, dialect::Dialect};

/// An answer, and the script by which it is to be sent.
#[derive(Debug)]
pub struct Planned {
    /// What is sent.
    pub answer: Answer,
    /// How: pace, framing and faults, the dice already thrown.
    pub script: Script,
}

/// Status, headers and body of an answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers, without those that frame the body.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Body,
}

/// The body of an answer.
pub enum Body {
    /// Known as a whole.
    Whole(Bytes),
    /// Made while it is sent.
    Stream(Events),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Whole(bytes) => f.debug_tuple("Whole").field(bytes).finish(),
            Body::Stream(_) => f.write_str("Stream(…)"),
        }
    }
}

impl Answer {
    /// A JSON document of status 200.
    #[must_use]
    pub fn json(value: &Value) -> Answer {
        let body = Body::Whole(Bytes::from(value.to_string()));
        Answer { status: 200, headers: vec![("content-type", "application/json".into())], body }
    }

    /// A stream of events of status 200.
    #[must_use]
    pub fn stream(events: Events) -> Answer {
        let content_type = ("content-type", "text/event-stream; charset=utf-8".into());
        let headers = vec![content_type, ("cache-control", "no-cache".into())];
        Answer { status: 200, headers, body: Body::Stream(events) }
    }

    fn text(status: u16, content_type: &str, text: &'static str) -> Answer {
        let headers = vec![("content-type", content_type.into())];
        Answer { status, headers, body: Body::Whole(Bytes::from_static(text.as_bytes())) }
    }

    fn break_json(&mut self) {
        if let Body::Whole(bytes) = &mut self.body {
            bytes.truncate(bytes.len() / 2);
        }
    }
}

/// What an endpoint needs to answer one request.
pub struct Turn<'a> {
    /// The request.
    pub request: &'a Request,
    /// Its body; null where it is no JSON.
    pub body: &'a Value,
    /// The model without its script.
    pub model: &'a str,
    /// The script.
    pub script: &'a Script,
    /// Chance, for ids.
    pub dice: &'a mut Dice,
    /// Seconds since 1970.
    pub created: u64,
}

/// Plans the answer to one request.
#[must_use]
pub fn answer(sandbox: &Sandbox, request: &Request, seed: u64, now: UnixTime) -> Planned {
    let mut dice = Dice::new(seed);
    let dialect = dialect_of(request);
    let request_id = dice.id("req_", 24);
    let mut script = sandbox.script.clone();
    let mut answer = match decide(sandbox, request, dialect, &mut script, &mut dice, now) {
        Ok(answer) => answer,
        Err(refusal) => refused(&refusal, dialect, &request_id, script.fault.error_body),
    };
    if script.fault.malformed == Malformed::Json {
        answer.break_json();
    }
    answer.headers.extend(provider_headers(dialect, request_id));
    if (300..400).contains(&answer.status) {
        answer.headers.push(("location", "http://127.0.0.1:9/elsewhere".into()));
    }
    if let Some(seconds) = script.retry_after {
        answer.headers.push(("retry-after", seconds.to_string()));
    }
    Planned { answer, script }
}

/// The answer to a request that could not be read.
#[must_use]
pub fn unreadable(refusal: &Refusal) -> Planned {
    let answer = refused(refusal, Dialect::OpenAi, "req_unreadable", ErrorBody::Json);
    Planned { answer, script: Script::default() }
}

fn decide(
    sandbox: &Sandbox,
    request: &Request,
    dialect: Dialect,
    script: &mut Script,
    dice: &mut Dice,
    now: UnixTime,
) -> Result<Answer, Refusal> {
    admit(sandbox, dialect, request)?;
    let body = read_json(request);
    let name = read_script(request, body.as_ref().ok(), script)?;
    *script = std::mem::take(script).strike(dice);
    if let Some(status) = script.fault.status {
        return Err(Refusal::scripted(status));
    }
    let endpoint = endpoint(request)?;
    let body = if endpoint.reads_json() { body? } else { Value::Null };
    let turn = Turn { request, body: &body, model: &name, script, dice, created: now.seconds() };
    endpoint.answer(sandbox, dialect, turn)
}

fn admit(sandbox: &Sandbox, dialect: Dialect, request: &Request) -> Result<(), Refusal> {
    let Some(expected) = &sandbox.expected_key else { return Ok(()) };
    let presented = match dialect {
        Dialect::Anthropic => request.header("x-api-key"),
        _ => request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")),
    };
    let matches = |key: &str| bool::from(key.as_bytes().ct_eq(expected.reveal().as_bytes()));
    match (presented, dialect) {
        (Some(key), _) if matches(key) => Ok(()),
        (Some(_), Dialect::Anthropic) => Err(Refusal::new(401, "invalid x-api-key")),
        (None, Dialect::Anthropic) => Err(Refusal::new(401, "x-api-key header is required")),
        (Some(_), _) => Err(Refusal::new(401, "Incorrect API key provided.")),
        (None, _) => Err(Refusal::new(401, "You didn't provide an API key.")),
    }
}

fn read_json(request: &Request) -> Result<Value, Refusal> {
    match serde_json::from_slice(&request.body) {
        Ok(body @ Value::Object(_)) => Ok(body),
        Ok(_) => Err(Refusal::new(400, "The body must be a JSON object.")),
        Err(error) => Err(Refusal::new(400, format!("The body is not valid JSON: {error}."))),
    }
}

/// What the model says, then what the header says. The model's own name is handed back.
fn read_script(
    request: &Request,
    body: Option<&Value>,
    script: &mut Script,
) -> Result<String, Refusal> {
    let model = body.and_then(|body| body["model"].as_str()).unwrap_or_default();
    let name = script.apply_model(model)?.to_owned();
    if let Some(text) = request.header(SCRIPT_HEADER) {
        script.apply(text)?;
    }
    Ok(name)
}

/// The sandbox plays Anthropic on Anthropic's paths, and wherever the caller names a version of its API.
fn dialect_of(request: &Request) -> Dialect {
    let messages = request.path == "/v1/messages" || request.path.starts_with("/v1/messages/");
    if messages || request.header("anthropic-version").is_some() {
        return Dialect::Anthropic;
    }
    Dialect::OpenAi
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint<'a> {
    Chat,
    Completions,
    Embeddings,
    Responses,
    Messages,
    CountTokens,
    Upload,
    Models,
    Model(&'a str),
    Journal,
}

fn endpoint(request: &Request) -> Result<Endpoint<'_>, Refusal> {
    let (method, endpoint) = match request.path.as_str() {
        "/v1/chat/completions" => ("POST", Endpoint::Chat),
        "/v1/completions" => ("POST", Endpoint::Completions),
        "/v1/embeddings" => ("POST", Endpoint::Embeddings),
        "/v1/responses" => ("POST", Endpoint::Responses),
        "/v1/messages" => ("POST", Endpoint::Messages),
        "/v1/messages/count_tokens" => ("POST", Endpoint::CountTokens),
        "/v1/files" => ("POST", Endpoint::Upload),
        "/v1/models" => ("GET", Endpoint::Models),
        "/sandbox/journal" => ("GET", Endpoint::Journal),
        path => match path.strip_prefix("/v1/models/") {
            Some(name) => ("GET", Endpoint::Model(name)),
            None => return Err(unknown(request)),
        },
    };
    if request.method != method {
        let (wrong, path) = (&request.method, &request.path);
        return Err(Refusal::new(405, format!("Not allowed to {wrong} on {path}.")));
    }
    Ok(endpoint)
}

fn unknown(request: &Request) -> Refusal {
    Refusal::new(404, format!("Invalid URL ({} {})", request.method, request.path))
}

impl Endpoint<'_> {
    fn reads_json(self) -> bool {
        use Endpoint::{Chat, Completions, CountTokens, Embeddings, Messages, Responses};
        matches!(self, Chat | Completions | Embeddings | Responses | Messages | CountTokens)
    }

    fn answer(
        self,
        sandbox: &Sandbox,
        dialect: Dialect,
        mut turn: Turn<'_>,
    ) -> Result<Answer, Refusal> {
        if self.reads_json() && turn.model.is_empty() {
            return Err(Refusal::missing("model"));
        }
        if dialect == Dialect::Anthropic && turn.request.header("anthropic-version").is_none() {
            return Err(Refusal::new(400, "anthropic-version: header is required"));
        }
        match (self, dialect) {
            (Endpoint::Chat, _) => openai::chat(&mut turn),
            (Endpoint::Completions, _) => openai::completions(&mut turn),
            (Endpoint::Embeddings, _) => embeddings::create(&turn),
            (Endpoint::Responses, _) => responses::create(&mut turn),
            (Endpoint::Messages, _) => anthropic::messages(&mut turn),
            (Endpoint::CountTokens, _) => anthropic::count_tokens(&turn),
            (Endpoint::Upload, _) => upload::create(&mut turn),
            (Endpoint::Models, Dialect::Anthropic) => Ok(anthropic::models()),
            (Endpoint::Models, _) => Ok(openai::models(&turn)),
            (Endpoint::Model(name), Dialect::Anthropic) => Ok(anthropic::model(name)),
            (Endpoint::Model(name), _) => Ok(openai::model(&turn, name)),
            (Endpoint::Journal, _) => match &sandbox.recorder {
                Some(recorder) => Ok(Answer::json(&Recorder::journal(&recorder.borrow()))),
                None => Err(unknown(turn.request)),
            },
        }
    }
}

fn refused(refusal: &Refusal, dialect: Dialect, request_id: &str, body: ErrorBody) -> Answer {
    match body {
        ErrorBody::Json => {
            let body = refusal.body(dialect, request_id);
            Answer { status: refusal.status, ..Answer::json(&body) }
        }
        ErrorBody::Html => Answer::text(refusal.status, "text/html", ERROR_PAGE),
        ErrorBody::Empty => {
            Answer { status: refusal.status, headers: Vec::new(), body: Body::Whole(Bytes::new()) }
        }
    }
}

fn provider_headers(dialect: Dialect, request_id: String) -> Vec<(&'static str, String)> {
    match dialect {
        Dialect::Anthropic => vec![
            ("request-id", request_id),
            ("anthropic-ratelimit-requests-limit", "4000".into()),
            ("anthropic-ratelimit-requests-remaining", "3999".into()),
        ],
        Dialect::OpenAi | Dialect::Responses => vec![
            ("x-request-id", request_id),
            ("openai-version", "2020-10-01".into()),
            ("x-ratelimit-limit-requests", "10000".into()),
            ("x-ratelimit-remaining-requests", "9999".into()),
            ("x-ratelimit-reset-requests", "6ms".into()),
        ],
    }
}

/// The header that carries a script.
pub const SCRIPT_HEADER: &str = "x-sandbox-script";
const ERROR_PAGE: &str = "<html><head><title>Error</title></head><body><h1>The sandbox is out of order</h1></body></html>\n";
