//! What the sandbox remembers for tests: requests, disconnects with their times, and how many connections it has.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use super::http::Request;
use crate::base::{limits, units::Instant};

/// The newest requests and disconnects, and counts of all.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Complete requests, oldest first.
    pub requests: VecDeque<Received>,
    /// Clients that went away before their answer was complete, oldest first.
    pub gone: VecDeque<Gone>,
    /// Connections ever accepted.
    pub connections_opened: u64,
    /// Those of them that are closed.
    pub connections_closed: u64,
    /// Requests ever received.
    pub requests_total: u64,
    /// Clients that ever went away.
    pub gone_total: u64,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Received {
    /// When it was complete.
    pub at: Instant,
    /// What it was. A long body is kept to its beginning.
    pub request: Request,
}

/// One client that went away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// When that was noticed.
    pub at: Instant,
    /// The path of its request.
    pub path: String,
    /// Bytes of the answer that were written before.
    pub sent_bytes: u64,
}

impl Recorder {
    /// Notes a complete request.
    pub fn received(&mut self, at: Instant, mut request: Request) {
        request.body.truncate(limits::SANDBOX_RECORDED_BODY_BYTES_MAX);
        self.requests_total += 1;
        remember(&mut self.requests, Received { at, request });
    }

    /// Notes a client that went away.
    pub fn gone(&mut self, gone: Gone) {
        self.gone_total += 1;
        remember(&mut self.gone, gone);
    }

    /// Everything as JSON, for tests in other processes (`GET /sandbox/journal`). Credentials are masked.
    #[must_use]
    pub fn journal(&self) -> Value {
        let requests: Vec<Value> = self.requests.iter().map(entry).collect();
        let gone = self.gone.iter().map(|gone| {
            json!({"at_nanos": gone.at.nanos, "path": gone.path, "sent_bytes": gone.sent_bytes})
        });
        json!({
            "requests": requests,
            "gone": gone.collect::<Vec<_>>(),
            "connections_opened": self.connections_opened,
            "connections_closed": self.connections_closed,
            "requests_total": self.requests_total,
            "gone_total": self.gone_total,
        })
    }
}

fn entry(received: &Received) -> Value {
    let request = &received.request;
    let headers: Map<String, Value> = request
        .headers
        .iter()
        .map(|(name, value)| (name.clone(), json!(shown(name, value))))
        .collect();
    json!({
        "at_nanos": received.at.nanos,
        "method": request.method,
        "path": request.path,
        "query": request.query,
        "headers": headers,
        "body": String::from_utf8_lossy(&request.body),
        "body_bytes": request.body_bytes,
    })
}

/// A credential shows its last four characters only, enough to tell two of them apart.
fn shown(name: &str, value: &str) -> String {
    let secret =
        ["key", "auth", "token", "secret", "cookie"].iter().any(|word| name.contains(word));
    if !secret {
        return value.to_owned();
    }
    let from = value.char_indices().rev().nth(3).map_or(0, |(from, _)| from);
    let tail = if value.len() >= MASKED_BYTES_MIN { value.get(from..) } else { None };
    format!("…{}", tail.unwrap_or_default())
}

fn remember<T>(records: &mut VecDeque<T>, record: T) {
    if records.len() >= limits::SANDBOX_RECORDS_MAX {
        records.pop_front();
    }
    records.push_back(record);
}

/// Of a shorter credential nothing is shown.
const MASKED_BYTES_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: &str) -> Request {
        Request { path: path.into(), ..Request::default() }
    }

    #[test]
    fn the_newest_are_kept_and_all_are_counted() {
        let mut recorder = Recorder::default();
        for index in 0..limits::SANDBOX_RECORDS_MAX + 5 {
            recorder.received(Instant::default(), request(&format!("/{index}")));
        }
        assert_eq!(recorder.requests.len(), limits::SANDBOX_RECORDS_MAX);
        assert_eq!(recorder.requests_total as usize, limits::SANDBOX_RECORDS_MAX + 5);
        assert_eq!(recorder.requests[0].request.path, "/5");
    }

    #[test]
    fn credentials_are_masked() {
        let mut recorder = Recorder::default();
        let secret = "Bearer sk-very-secret-1234";
        let headers = vec![
            ("authorization".to_owned(), secret.to_owned()),
            ("x-api-key".to_owned(), "short".to_owned()),
            ("accept".to_owned(), "text/html".to_owned()),
        ];
        let request = Request { headers, ..request("/") };
        recorder.received(Instant::default(), request);
        let headers = recorder.journal()["requests"][0]["headers"].clone();
        assert_eq!(headers["authorization"], "…1234");
        assert_eq!(headers["x-api-key"], "…");
        assert_eq!(headers["accept"], "text/html");
        assert!(!format!("{recorder:?}").contains("secret"));
    }
}
