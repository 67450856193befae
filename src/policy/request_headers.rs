//! The request headers that steer Trunkline, `x-portkey-*` and `x-trunkline-*` alike, read in one pass.

use std::{borrow::Cow, str, time::Duration};

use serde_json::Value;
use smallvec::SmallVec;

use crate::base::{
    fault::{Fault, Kind, Source, Stage},
    limits,
};

/// Reads a head. Names may be in any case; headers that are not Trunkline's are passed over.
pub fn parse<'r>(
    headers: impl IntoIterator<Item = (&'r [u8], &'r [u8])>,
) -> Result<RequestOptions<'r>, Fault> {
    let mut found: SmallVec<[Found<'r>; 8]> = SmallVec::new();
    for (name, value) in headers {
        if !matches!(name, [b'x' | b'X', b'-', ..]) {
            continue; // most headers leave here
        }
        if let Some((spelling, suffix)) = split(name) {
            add(&mut found, Found { spelling, suffix, value: value.trim_ascii() })?;
        }
    }
    let mut options = RequestOptions::default();
    for header in &found {
        options.take(header)?;
    }
    Ok(options)
}

/// What the headers of one request say. Empty values count as absent, except for the trace id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestOptions<'r> {
    /// A config's name, or JSON.
    pub config: Option<&'r str>,
    /// A virtual key's name.
    pub virtual_key: Option<&'r str>,
    /// A provider's name, or `@virtual-key`.
    pub provider: Option<&'r str>,
    /// Pairs in the order of the header. Values that are not strings are kept as their JSON text.
    pub metadata: Vec<(String, String)>,
    /// Names of the pairs whose value is such a JSON text.
    pub metadata_json: Vec<String>,
    /// The metadata header was not a JSON object: ignored, to be counted.
    pub metadata_ignored: bool,
    /// 1 to 128 visible ASCII characters.
    pub trace_id: Option<&'r str>,
    /// Skip the cache's answer and store a new one.
    pub cache_force_refresh: bool,
    /// Shares cached answers within this name.
    pub cache_namespace: Option<&'r str>,
    /// Bound on the time to the answer's head, a try.
    pub request_timeout: Option<Duration>,
    /// Instead of the provider's base URL, for every target; not checked yet.
    pub custom_host: Option<&'r str>,
    /// Client headers to pass on, lower case; `None`: the config decides.
    pub forward_headers: Option<Vec<String>>,
    /// `x-portkey-strict-open-ai-compliance: false`: overrules every config.
    pub lenient: bool,
    /// `x-portkey-debug: false`: bodies of this request are never logged.
    pub bodies_private: bool,
    /// Guardrails for every target, JSON: of requests, and of answers.
    pub guardrails: [Option<&'r str>; 2],
    /// Provider-specific headers: lower-case name without `x-portkey-`, and value.
    pub provider_options: Vec<(Cow<'r, str>, &'r str)>,
}

impl<'r> RequestOptions<'r> {
    fn take(&mut self, header: &Found<'r>) -> Result<(), Fault> {
        let mut lower = [0_u8; SUFFIX_BYTES_MAX];
        let Some(lower) = lower.get_mut(..header.suffix.len()) else { return Ok(()) };
        lower.copy_from_slice(header.suffix);
        lower.make_ascii_lowercase();
        match &*lower {
            b"config" => self.config = header.text()?,
            b"virtual-key" => self.virtual_key = header.text()?,
            b"provider" => self.provider = header.text()?,
            b"metadata" => self.take_metadata(header)?,
            b"trace-id" => self.trace_id = Some(trace_id(header)?),
            b"cache-force-refresh" => {
                self.cache_force_refresh = !header.value.is_empty() && !header.is_false();
            }
            b"cache-namespace" => self.cache_namespace = header.text()?,
            b"request-timeout" => self.request_timeout = millis(header.value),
            b"custom-host" => self.custom_host = header.text()?,
            b"forward-headers" => self.forward_headers = forward_headers(header)?,
            b"strict-open-ai-compliance" => self.lenient = header.is_false(),
            b"debug" => self.bodies_private = header.is_false(),
            b"default-input-guardrails" => self.guardrails[0] = header.text()?,
            b"default-output-guardrails" => self.guardrails[1] = header.text()?,
            name => self.take_provider_option(name, header)?,
        }
        Ok(())
    }

    /// Not an object: ignored and counted, as Portkey does. Beyond the bounds: a 400.
    fn take_metadata(&mut self, header: &Found<'r>) -> Result<(), Fault> {
        if header.value.is_empty() {
            return Ok(());
        }
        let Ok(Value::Object(map)) = serde_json::from_slice(header.value) else {
            self.metadata_ignored = true;
            return Ok(());
        };
        if map.len() > limits::METADATA_PAIRS_MAX {
            return Err(header.fault("holds more than 16 pairs"));
        }
        for (key, value) in map {
            let value = match value {
                Value::String(text) => text,
                other => {
                    self.metadata_json.push(key.clone());
                    other.to_string()
                }
            };
            let too_long = |text: &str| text.chars().nth(limits::METADATA_CHARS_MAX).is_some();
            if too_long(&key) || too_long(&value) {
                return Err(header.fault("holds a key or value of more than 128 characters"));
            }
            self.metadata.push((key, value));
        }
        Ok(())
    }

    /// Names outside the known families are Portkey's own that mean nothing here (`mode`, `span-id`, …).
    fn take_provider_option(&mut self, name: &[u8], header: &Found<'r>) -> Result<(), Fault> {
        let (Ok(name), Ok(written)) = (str::from_utf8(name), str::from_utf8(header.suffix)) else {
            return Ok(());
        };
        if !PROVIDER_FAMILIES.iter().any(|family| name.starts_with(family)) {
            return Ok(());
        }
        let Some(value) = header.text()? else { return Ok(()) };
        let name =
            if name == written { Cow::Borrowed(written) } else { Cow::Owned(name.to_owned()) };
        self.provider_options.push((name, value));
        Ok(())
    }
}

/// The metadata of an exchange: the request's pairs, with what the API key itself sets winning.
#[must_use]
pub fn merge_metadata<'a>(
    request: &[(String, String)],
    api_key: &'a [(String, String)],
) -> SmallVec<[(Cow<'a, str>, Cow<'a, str>); 2]> {
    let is_fixed = |name: &str| api_key.iter().any(|(fixed, _)| fixed == name);
    let own = request.iter().filter(|(name, _)| !is_fixed(name));
    let own = own.map(|(name, value)| (Cow::Owned(name.clone()), Cow::Owned(value.clone())));
    let fixed = api_key.iter().map(|(name, value)| (Cow::from(name), Cow::from(value)));
    own.chain(fixed).collect()
}

/// Whether a client header (lower case) must never be copied upstream by name: it belongs to the connection or to
/// the framing of the message, or would redirect it.
#[must_use]
pub fn never_forwarded(name: &str) -> bool {
    NEVER_FORWARDED.contains(&name)
}

/// Which of the two prefixes a header was written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    Portkey,
    Trunkline,
}

/// One header of Trunkline's, as written after its prefix.
struct Found<'r> {
    spelling: Spelling,
    suffix: &'r [u8],
    value: &'r [u8],
}

impl<'r> Found<'r> {
    /// Its text; `None` if empty.
    fn text(&self) -> Result<Option<&'r str>, Fault> {
        let text = str::from_utf8(self.value).map_err(|_| self.fault("is not valid UTF-8"))?;
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    fn is_false(&self) -> bool {
        self.value.eq_ignore_ascii_case(b"false")
    }

    fn name(&self) -> String {
        let prefix = match self.spelling {
            Spelling::Portkey => "x-portkey-",
            Spelling::Trunkline => "x-trunkline-",
        };
        format!("{prefix}{}", String::from_utf8_lossy(self.suffix).to_ascii_lowercase())
    }

    /// A 400 that names the header and shows none of its value.
    fn fault(&self, what: &str) -> Fault {
        let name = self.name();
        bad_header(format!("the header `{name}` {what}")).at(name)
    }
}

fn split(name: &[u8]) -> Option<(Spelling, &[u8])> {
    let after = |prefix: &[u8]| {
        let (head, suffix) = name.split_at_checked(prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then_some(suffix)
    };
    match after(b"x-portkey-") {
        Some(suffix) => Some((Spelling::Portkey, suffix)),
        None => Some((Spelling::Trunkline, after(b"x-trunkline-")?)),
    }
}

/// Both spellings with one value are fine; different values or a repeated header are not. A head has at most
/// `HEADERS_MAX` lines, which bounds the comparisons.
fn add<'r>(found: &mut SmallVec<[Found<'r>; 8]>, new: Found<'r>) -> Result<(), Fault> {
    let mut twins = found.iter().filter(|old| old.suffix.eq_ignore_ascii_case(new.suffix));
    let Some(old) = twins.next() else {
        found.push(new);
        return Ok(());
    };
    if old.spelling == new.spelling || twins.next().is_some() {
        return Err(new.fault("is there more than once"));
    }
    if old.value != new.value {
        let other = old.name();
        return Err(new.fault(&format!("and `{other}` have different values")));
    }
    found.push(new); // so that a third one is noticed
    Ok(())
}

fn trace_id<'r>(header: &Found<'r>) -> Result<&'r str, Fault> {
    let fits = (1..=limits::TRACE_ID_BYTES_MAX).contains(&header.value.len());
    if !fits || !header.value.iter().all(u8::is_ascii_graphic) {
        return Err(header.fault("is not 1 to 128 visible ASCII characters"));
    }
    str::from_utf8(header.value).map_err(|_| header.fault("is not valid UTF-8"))
}

/// Whole milliseconds; 0 and what is no number count as absent, as Portkey does.
fn millis(value: &[u8]) -> Option<Duration> {
    let millis: u64 = str::from_utf8(value).ok()?.parse().ok()?;
    (millis > 0).then(|| Duration::from_millis(millis))
}

fn forward_headers(header: &Found<'_>) -> Result<Option<Vec<String>>, Fault> {
    let Some(list) = header.text()? else { return Ok(None) };
    let names: Vec<String> = list
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| !name.is_empty())
        .take(limits::FORWARD_HEADERS_MAX + 1)
        .collect();
    if names.len() > limits::FORWARD_HEADERS_MAX {
        return Err(header.fault("names more than 100 headers"));
    }
    if names.iter().any(|name| SELF.contains(&name.as_str())) {
        return Err(bad_header(SELF_REFERENCE).at(header.name()));
    }
    if let Some(name) = names.iter().find(|name| never_forwarded(name)) {
        return Err(header.fault(&format!("must not contain `{name}`")));
    }
    Ok(Some(names))
}

fn bad_header(message: impl Into<Cow<'static, str>>) -> Fault {
    Fault::new(Stage::Head, Source::Client, Kind::BadConfig, message)
}

/// Longest name after the prefix that can mean anything here; the longest known one has 44 bytes.
const SUFFIX_BYTES_MAX: usize = 64;

const SELF: [&str; 2] = ["x-portkey-forward-headers", "x-trunkline-forward-headers"];

/// Portkey's own words.
const SELF_REFERENCE: &str =
    "forward_headers must not contain the 'x-portkey-forward-headers' header";

/// The message's target, its framing, and what concerns one connection only.
const NEVER_FORWARDED: [&str; 14] = [
    "host",
    "content-length",
    "transfer-encoding",
    "trailer",
    "te",
    "expect",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "upgrade",
    "http2-settings",
    ":authority",
];

/// What provider-specific headers begin with.
const PROVIDER_FAMILIES: [&str; 17] = [
    "openai-",
    "anthropic-",
    "aws-",
    "amz-",
    "amzn-",
    "azure-",
    "vertex-",
    "provider-",
    "workers-ai-",
    "huggingface-",
    "fireworks-",
    "snowflake-",
    "mistral-",
    "stability-",
    "oracle-",
    "file-upload-size",
    "file-purpose",
];
