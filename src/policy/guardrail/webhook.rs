//! What a webhook is told, in Portkey's words, and what its answer means.

use std::borrow::Cow;

use serde_json::{Value, json, value::RawValue};

use super::check::Finding;
use crate::{base::limits, config::guardrail::Callee};

/// What a webhook is told of.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Whether the request alone is there.
    pub before: bool,
    /// The request's body, JSON.
    pub request: &'a [u8],
    /// The text of it that is judged.
    pub request_text: &'a str,
    /// Whether it asks for a stream.
    pub stream: bool,
    /// Whether it was rewritten by an earlier check.
    pub request_rewritten: bool,
    /// The answer's body, JSON; empty: there is none yet, or it came as a stream.
    pub response: &'a [u8],
    /// The text of it that is judged.
    pub response_text: &'a str,
    /// The provider.
    pub provider: &'a str,
    /// Portkey's word for what is asked.
    pub request_type: &'a str,
    /// The metadata of the exchange.
    pub metadata: &'a [(Cow<'a, str>, Cow<'a, str>)],
}

/// The body of the call.
#[must_use]
pub fn body(told: &Told<'_>) -> Vec<u8> {
    let raw = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok();
        text.and_then(|text| RawValue::from_string(text.to_owned()).ok())
    };
    let metadata: serde_json::Map<String, Value> = told
        .metadata
        .iter()
        .map(|(name, value)| (name.clone().into_owned(), Value::from(value.as_ref())))
        .collect();
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Request<'t> {
        json: Option<Box<RawValue>>,
        text: &'t str,
        is_streaming_request: bool,
        is_transformed: bool,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Response<'t> {
        json: Option<Box<RawValue>>,
        text: &'t str,
        status_code: Option<u16>,
        is_transformed: bool,
    }
    #[derive(serde::Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body<'t> {
        request: Request<'t>,
        response: Response<'t>,
        provider: &'t str,
        request_type: &'t str,
        metadata: serde_json::Map<String, Value>,
        event_type: &'t str,
    }
    let body = Body {
        request: Request {
            json: raw(told.request),
            text: told.request_text,
            is_streaming_request: told.stream,
            is_transformed: told.request_rewritten,
        },
        response: Response {
            json: raw(told.response),
            text: told.response_text,
            status_code: (!told.before).then_some(200),
            is_transformed: false,
        },
        provider: told.provider,
        request_type: told.request_type,
        metadata,
        event_type: if told.before { "beforeRequestHook" } else { "afterRequestHook" },
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

/// What came of a call: its status and body, or why none came.
pub type Answered = Result<(u16, Vec<u8>), String>;

/// What a webhook's answer means, and the body that it wants instead, if any. Like Portkey's: what is no answer is an
/// error; an answer without a true verdict is a failure.
#[must_use]
pub fn finding(callee: &Callee, answered: &Answered, before: bool) -> (Finding, Option<Vec<u8>>) {
    let (status, body) = match answered {
        Ok(answer) => answer,
        Err(why) => return (Finding::error(format!("Webhook error: {why}")), None),
    };
    if !(200..300).contains(status) {
        return (Finding::error(format!("Webhook error: it answered {status}")), None);
    }
    if !callee.judges {
        let data = json!({ "explanation": "The log URL was told." });
        return (Finding::of(true, data), None);
    }
    let Ok(answer) = serde_json::from_slice::<Value>(body) else {
        return (Finding::error("Webhook error: its answer is not JSON"), None);
    };
    let verdict = answer.get("verdict") == Some(&Value::Bool(true));
    let side = if before { "request" } else { "response" };
    let instead = answer.get("transformedData").and_then(|data| data.get(side)?.get("json"));
    let instead = instead.filter(|json| json.is_object()).map(|json| json.to_string().into_bytes());
    let explanation = if verdict { "Webhook request succeeded" } else { "Webhook request failed" };
    let told =
        answer.get("data").filter(|data| data.to_string().len() <= limits::WEBHOOK_DATA_BYTES_MAX);
    let data = json!({ "verdict": verdict, "explanation": explanation, "responseData": told });
    (Finding { transformed: instead.is_some(), ..Finding::of(verdict, data) }, instead)
}

/// The URLs of a text.
#[must_use]
pub fn urls(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("http") {
        let candidate = &rest[start..];
        let is_url = candidate.starts_with("http://") || candidate.starts_with("https://");
        let ends = |c: char| c.is_whitespace() || ",\"'{}[]<>`".contains(c);
        let length = candidate.find(ends).unwrap_or(candidate.len());
        if is_url {
            found.push(candidate[..length].trim_end_matches(['.', ')', ';', ':', '!', '?']));
            rest = &candidate[length..];
        } else {
            rest = &candidate[4..];
        }
    }
    found
}

/// What `validUrls` says of a text with these URLs, of which those that lead nowhere are marked.
#[must_use]
pub fn of_urls(not: bool, only_dns: bool, checked: &[(&str, bool)], total: usize) -> Finding {
    let method = if only_dns { "DNS lookup" } else { "HTTP request" };
    if total == 0 {
        let explanation = "No URLs found in the text.";
        let data = json!({ "explanation": explanation, "urls": [], "not": not, "validationMethod": method });
        return Finding::of(false, data);
    }
    let (valid, invalid): (Vec<_>, Vec<_>) = checked.iter().partition(|(_, good)| *good);
    let names =
        |list: &[&(&str, bool)]| list.iter().map(|(url, _)| (*url).to_owned()).collect::<Vec<_>>();
    let all = invalid.is_empty() && checked.len() == total;
    let explanation = match all {
        true => "All URLs are valid.".to_owned(),
        false if checked.len() < total => {
            format!("The text has {total} URLs; {} are looked at.", checked.len())
        }
        false => format!("Some URLs are invalid ({} of {total} failed).", invalid.len()),
    };
    let verdict = all != not;
    Finding::of(
        verdict,
        json!({
            "verdict": verdict, "not": not, "explanation": explanation, "validationMethod": method,
            "validUrls": names(&valid), "invalidUrls": names(&invalid),
        }),
    )
}
