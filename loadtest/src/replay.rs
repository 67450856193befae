//! A load out of a request log: when requests came, for which model, how large, plain or streamed.

use std::{collections::HashMap, fs::File, io, path::Path};

use trunkline::{
    io::log::{
        disk::{Row, segments},
        read::{Piece, SegmentReader},
    },
    wire::record::{
        Record,
        block::BlockKind,
        decode::{decode_body, split},
    },
};

use bytes::Bytes;

use crate::request::{self, Prepared, Wish};

/// What a log says about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// When it came, in nanoseconds after the first one.
    pub at: u64,
    /// The path.
    pub path: String,
    /// The model it asked for.
    pub model: String,
    /// It asked for a stream.
    pub stream: bool,
    /// Its bytes, head and body.
    pub bytes: u64,
}

/// The requests of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Those that can be made again, in the order in which they came.
    pub requests: Vec<Logged>,
    /// Records of others: uploads, look-ups, refused paths.
    pub left_out: u64,
    /// Records that could not be read.
    pub damaged: u64,
}

/// Reads a log directory.
///
/// # Errors
/// If it cannot be read, or holds nothing to replay.
pub fn read(dir: &Path) -> Result<Log, String> {
    let named = |error: io::Error| format!("--replay {}: {error}", dir.display());
    let mut log = Log::default();
    for segment in segments(dir, Row::Records).map_err(named)? {
        let mut reader = SegmentReader::new(File::open(&segment.path).map_err(named)?, 0, None);
        while let Some(piece) = reader.next_piece().map_err(named)? {
            match piece {
                Piece::Block { head, payload, .. } if head.kind == BlockKind::Records => {
                    log.take_block(payload);
                }
                Piece::Block { .. } | Piece::Torn(_) => {}
                Piece::Damage(stretch) => log.damaged += stretch.records.max(1),
            }
        }
    }
    if log.requests.is_empty() {
        return Err(format!("--replay {}: there is no request to replay", dir.display()));
    }
    log.requests.sort_by_key(|request| request.at);
    let first = log.requests.first().map_or(0, |request| request.at);
    log.requests.iter_mut().for_each(|request| request.at -= first);
    Ok(log)
}

impl Log {
    fn take_block(&mut self, mut payload: &[u8]) {
        while !payload.is_empty() {
            let Ok((body, taken)) = split(payload) else {
                self.damaged += 1;
                return;
            };
            payload = &payload[taken..];
            match decode_body(body) {
                Ok(record) => self.take(record),
                Err(_) => self.damaged += 1,
            }
        }
    }

    fn take(&mut self, record: Record) {
        let known = record.method == "POST" && PATHS.contains(&record.path.as_str());
        if !known || record.requested_model.is_empty() {
            self.left_out += 1;
            return;
        }
        self.requests.push(Logged {
            at: record.accepted_unix_nanos,
            path: record.path,
            model: record.requested_model,
            stream: record.stream,
            bytes: record.client_bytes_in,
        });
    }

    /// The arrivals, so many times as fast: when, and the number of one of the kinds.
    #[must_use]
    pub fn arrivals(&self, speed: f64) -> (Vec<(u64, u32)>, Vec<Logged>) {
        let mut numbers: HashMap<(&str, &str, bool, u64), u32> = HashMap::new();
        let (mut arrivals, mut kinds) = (Vec::new(), Vec::new());
        for each in &self.requests {
            let kind = (each.path.as_str(), each.model.as_str(), each.stream, each.bytes);
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            let number = *numbers.entry(kind).or_insert_with(|| {
                kinds.push(each.clone());
                next
            });
            arrivals.push(((each.at as f64 / speed) as u64, number));
        }
        (arrivals, kinds)
    }
}

/// The requests of some kinds, their sizes as logged. They share the memory of their text.
#[must_use]
pub fn prepare(kinds: &[Logged], authority: &str, headers: &[(String, String)]) -> Vec<Prepared> {
    let most = kinds.iter().map(|kind| kind.bytes).max().unwrap_or(0).min(BODY_BYTES_MAX);
    let text = request::filler(usize::try_from(most).unwrap_or(0).max(1));
    let prepare = |kind: &Logged| {
        let wish = Wish { path: &kind.path, model: &kind.model, stream: kind.stream };
        let frame = wish.frame();
        let head =
            |body_bytes| request::head(&kind.path, authority, headers, kind.stream, body_bytes);
        let wanted = usize::try_from(kind.bytes.min(BODY_BYTES_MAX)).unwrap_or(0);
        // The log counts the head too, and a head's length depends a little on the body's.
        let text_bytes =
            frame.text_bytes(wanted.saturating_sub(head(wanted).len())).min(text.len());
        let body_bytes = frame.before.len() + text_bytes + frame.behind.len();
        let opening = head(body_bytes) + &frame.before;
        let parts = vec![
            Bytes::from(opening),
            text.slice(..text_bytes),
            Bytes::from_static(frame.behind.as_bytes()),
        ];
        Prepared { parts, stream: kind.stream }
    };
    kinds.iter().map(prepare).collect()
}

/// What can be made up again from what a record says.
const PATHS: &[&str] =
    &["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/messages", "/v1/responses"];
/// Larger requests are replayed at this size.
const BODY_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(at: u64, model: &str, bytes: u64) -> Logged {
        let (path, stream) = ("/v1/chat/completions".into(), at % 2 == 1);
        Logged { at, path, model: model.into(), stream, bytes }
    }

    #[test]
    fn equal_requests_are_prepared_once() {
        let requests = vec![logged(0, "a", 900), logged(500, "b", 900), logged(1000, "a", 900)];
        let log = Log { requests, ..Log::default() };
        let (arrivals, kinds) = log.arrivals(2.0);
        assert_eq!(arrivals, [(0, 0), (250, 1), (500, 0)]);
        assert_eq!(kinds.len(), 2);
    }

    #[test]
    fn replayed_requests_have_the_size_that_was_logged() {
        let kinds = [logged(0, "a", 5000), logged(1, "b", 100_000), logged(2, "c", 3)];
        let prepared = prepare(&kinds, "127.0.0.1:1", &[]);
        for (kind, made) in kinds.iter().zip(&prepared).take(2) {
            assert!((made.bytes() as u64).abs_diff(kind.bytes) <= 4, "{}", made.bytes());
            assert_eq!(made.stream, kind.stream);
            let bytes: Vec<u8> = made.parts.concat();
            let text = String::from_utf8(bytes).expect("text");
            let (head, body) = text.split_once("\r\n\r\n").expect("a head");
            assert!(head.contains(&format!("content-length: {}", body.len())));
            let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
            assert_eq!(body["model"], kind.model.as_str());
        }
        assert!(prepared[2].bytes() > 3);
    }
}
