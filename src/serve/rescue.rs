//! The only place that turns a fault into an answer: status, error type, and the body in the client's dialect.

use bytes::Bytes;

use super::{
    client::Client,
    connection::{After, Incoming},
    relay::Passed,
    respond::{self, Ending, Notes},
};
use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        limits,
    },
    dialect::{self, Dialect},
    io::net::{Net, Reader, Writer},
    journal::entry::kind_word,
    wire::{head::ResponseHead, render::HeadWriter},
};

/// What a connection over the cap is told, whole.
pub const TOO_MANY_CONNECTIONS: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
content-type: application/json\r\nretry-after: 1\r\nx-trunkline-error-source: gateway\r\n\
connection: close\r\ncontent-length: 115\r\n\r\n\
{\"error\":{\"message\":\"limits.connections is reached; try again\",\"type\":\"overloaded_error\",\
\"param\":null,\"code\":null}}";

/// The status of a fault.
#[must_use]
pub fn status(fault: &Fault) -> u16 {
    // What a provider says in a stream that has not begun reaches the client as if it had been said before.
    if let Some(told) = fault.told.as_ref().filter(|told| (400..600).contains(&told.status)) {
        return told.status;
    }
    match fault.kind {
        Kind::BadRequest | Kind::BadJson | Kind::BadConfig | Kind::Inexpressible => 400,
        Kind::NotImplemented | Kind::HostRefused => 400,
        Kind::Unauthenticated | Kind::NoCredential => 401,
        Kind::Forbidden | Kind::CredentialRedirected => 403,
        Kind::NoRoute => 404,
        Kind::Method => 405,
        Kind::Timeout(_) => 408,
        Kind::BodyTooLarge => 413,
        Kind::ContentType => 415,
        Kind::HeadTooLarge => 431,
        Kind::Guardrail => 446,
        Kind::ClientGone => 499,
        Kind::Bug => 500,
        Kind::Unreachable | Kind::Protocol | Kind::Truncated | Kind::UpstreamError => 502,
        Kind::Overloaded => 503,
        Kind::ConnectTimeout => 504,
    }
}

/// The `error.type` of a fault: the provider's own word, if it gave one.
fn error_type(fault: &Fault) -> &str {
    if let Some(told) = fault.told.as_ref().filter(|told| !told.kind.is_empty()) {
        return &told.kind;
    }
    match fault.kind {
        Kind::BadRequest
        | Kind::BadJson
        | Kind::BadConfig
        | Kind::Inexpressible
        | Kind::NotImplemented
        | Kind::HostRefused
        | Kind::NoRoute
        | Kind::Method
        | Kind::BodyTooLarge
        | Kind::ContentType
        | Kind::HeadTooLarge
        | Kind::ClientGone => "invalid_request_error",
        Kind::Unauthenticated | Kind::NoCredential => "authentication_error",
        Kind::Forbidden | Kind::CredentialRedirected => "permission_error",
        Kind::Timeout(_) | Kind::ConnectTimeout => "timeout_error",
        Kind::Bug => "api_error",
        Kind::Unreachable | Kind::Protocol | Kind::Truncated | Kind::UpstreamError => {
            "upstream_error"
        }
        Kind::Overloaded => "overloaded_error",
        Kind::Guardrail => "hooks_failed",
    }
}

/// The body of an answer for a fault.
fn body(dialect: Dialect, fault: &Fault) -> Vec<u8> {
    let kind = error_type(fault);
    // Portkey's own refusals keep its shape, in a body that the SDKs read too.
    if fault.kind == Kind::BadConfig {
        return dialect::refusal_body(kind, &fault.message, &fault.details);
    }
    if let Some(results) = &fault.hook_results {
        return dialect::hooks_failed_body(dialect, &fault.message, results);
    }
    let param = fault.param.as_deref();
    // Which deadline it was, for programs; the message says it too.
    let timed_out = matches!(fault.kind, Kind::Timeout(_) | Kind::ConnectTimeout);
    let code = timed_out.then(|| kind_word(fault.kind));
    dialect::error_body(dialect, status(fault), kind, &fault.message, param, code)
}

/// The event that ends a stream which broke after it was begun.
pub fn error_event(dialect: Dialect, fault: &Fault) -> Vec<u8> {
    dialect::error_event(dialect, status(fault), error_type(fault), &fault.message)
}

/// Answers with a fault, if the client can still be answered.
pub async fn answer<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
    dialect: Dialect,
    fault: &Fault,
    notes: &mut Notes<'_>,
) -> After {
    if client.answered.is_some() || fault.kind == Kind::ClientGone {
        return After::Close;
    }
    notes.error_source = Some(fault.source.as_str());
    notes.timing.now = client.now();
    notes.last = client.core.draining.get();
    let overloaded = fault.kind == Kind::Overloaded;
    let wait = overloaded.then(|| retry_after_seconds(client.core.net.random()).to_string());
    let retry = wait.as_deref().map(|wait| ("retry-after", wait));
    let allow = match (fault.kind, &fault.param) {
        (Kind::Method, Some(methods)) => Some(("allow", &**methods)),
        _ => None,
    };
    let extra: smallvec::SmallVec<[(&str, &str); 2]> = retry.into_iter().chain(allow).collect();
    let text = Bytes::from(body(dialect, fault));
    local(client, incoming, status(fault), "application/json", text, notes, &extra).await
}

/// When a client that was refused may come back: those refused together not all at once.
fn retry_after_seconds(dice: u64) -> u64 {
    limits::RETRY_AFTER_SECONDS + dice % (limits::RETRY_AFTER_JITTER_SECONDS + 1)
}

/// Answers from Trunkline itself. A request whose body was not read cannot be followed by another.
pub async fn local<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
    status: u16,
    content_type: &str,
    text: Bytes,
    notes: &Notes<'_>,
    extra: &[(&str, &str)],
) -> After {
    let mut ending = Ending::of(incoming, Some(text.len() as u64));
    let unread = client.body_pending;
    if let (true, Ending::Length(_)) = (unread, ending) {
        ending = Ending::Close;
    }
    let mut list = client.list();
    list.push(respond::local(incoming, status, content_type, ending, notes, extra));
    if !matches!(ending, Ending::NoBody(_)) {
        client.note_answer(content_type, &text);
        list.push(text);
    }
    client.answered = Some(status);
    let deadline = client.now().after(limits::ANSWER_WITHIN);
    match client.send(list, deadline).await {
        Ok(()) if !unread => ending.after(incoming),
        _ => After::Close,
    }
}

/// Passes on an upstream's head with a body that was written anew.
pub async fn rewritten<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    incoming: &Incoming,
    (head, bytes): (&ResponseHead, &[u8]),
    text: Bytes,
    notes: &mut Notes<'_>,
) -> Passed {
    notes.last = client.core.draining.get();
    let ending = Ending::of(incoming, Some(text.len() as u64));
    let json = Some("application/json");
    let mut list = client.list();
    list.push(respond::passed_on(incoming, head, bytes, json, ending, notes));
    if !matches!(ending, Ending::NoBody(_)) {
        client.note_answer("application/json", &text);
        list.push(text);
    }
    client.answered = Some(head.status);
    let deadline = client.now().after(limits::ANSWER_WITHIN);
    match client.send(list, deadline).await {
        Ok(()) => Passed { after: ending.after(incoming), fault: None },
        Err(gone) => Passed { after: After::Close, fault: Some(gone) },
    }
}

/// Answers bytes that were not an HTTP request.
pub async fn malformed<N: Net, R: Reader, W: Writer>(
    client: &mut Client<N, R, W>,
    fault: &Fault,
) -> After {
    let text = body(Dialect::OpenAi, fault);
    let mut out = bytes::BytesMut::with_capacity(512);
    if let Ok(mut head) = HeadWriter::response(&mut out, status(fault)) {
        let written = head
            .header("content-type", "application/json")
            .and_then(|()| head.header("x-trunkline-error-source", fault.source.as_str()))
            .and_then(|()| head.header("connection", "close"))
            .and_then(|()| head.length(text.len() as u64));
        if written.is_ok() {
            head.finish();
        }
    }
    let mut list = client.list();
    list.push(out.freeze());
    list.push(Bytes::from(text));
    let deadline = client.now().after(limits::ANSWER_WITHIN);
    // Whether the answer arrives or not, the connection ends here.
    let _ = client.send(list, deadline).await;
    After::Close
}

/// The fault of a panic that was caught.
#[must_use]
pub fn bug(place: &str) -> Fault {
    let message = format!("a bug in Trunkline ended this exchange (at {place}); please report it");
    Fault::new(Stage::Relay, Source::Gateway, Kind::Bug, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fault::Told;

    #[test]
    fn what_a_provider_says_in_a_stream_has_the_status_and_type_of_its_own_words() {
        let mut fault =
            Fault::new(Stage::Relay, Source::Upstream, Kind::UpstreamError, "too many at once");
        fault.told = Some(Box::new(Told { status: 529, kind: "overloaded_error".to_owned() }));
        assert_eq!(status(&fault), 529);
        let event = String::from_utf8(error_event(Dialect::OpenAi, &fault)).expect("UTF-8");
        assert!(event.contains(r#""type":"overloaded_error""#), "{event}");
        // A status that is no error's, or no word: what Trunkline says of any such fault.
        fault.told = Some(Box::new(Told { status: 200, kind: String::new() }));
        assert_eq!(status(&fault), 502);
        assert_eq!(error_type(&fault), "upstream_error");
    }
}
