//! The answers that the fast upstream knows: the sandbox makes each kind once, later requests get the same bytes.
//! Pure.

use std::{rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use trunkline::{
    base::units::UnixTime,
    sandbox::{
        Sandbox, answer,
        dice::Dice,
        http::{Head, HeadScan},
        wire::{Client, Step, Steps},
    },
};

use super::request::{Seen, says_true};

/// All kinds that were asked for so far.
pub struct Known {
    sandbox: Sandbox,
    kinds: Vec<Kind>,
}

/// What tells one answer from another.
struct Kind {
    path: Bytes,
    stream: bool,
    usage: bool,
    steps: Rc<[Step]>,
}

impl Known {
    /// Knows nothing yet.
    #[must_use]
    pub fn new(sandbox: Sandbox) -> Known {
        Known { sandbox, kinds: Vec::new() }
    }

    /// The answer to a request: what to write, and when after the request.
    pub fn answer(&mut self, bytes: &[u8], seen: &Seen, now: UnixTime) -> Rc<[Step]> {
        let (path, body) = (&bytes[seen.path.clone()], &bytes[seen.body.clone()]);
        let stream = says_true(body, br#""stream""#);
        let usage = stream && says_true(body, br#""include_usage""#);
        let same = |kind: &&Kind| {
            kind.stream == stream && kind.usage == usage && kind.path.as_ref() == path
        };
        if let Some(kind) = self.kinds.iter().find(same) {
            return Rc::clone(&kind.steps);
        }
        let steps = self.make(bytes, seen, now);
        if self.kinds.len() < KINDS_MAX {
            let (path, steps) = (Bytes::copy_from_slice(path), Rc::clone(&steps));
            self.kinds.push(Kind { path, stream, usage, steps });
        }
        steps
    }

    fn make(&self, bytes: &[u8], seen: &Seen, now: UnixTime) -> Rc<[Step]> {
        let mut head = BytesMut::from(&bytes[..seen.body.start]);
        let Ok(Some(Head { mut request, .. })) = HeadScan::default().take(&mut head) else {
            return Rc::from([Step { at: Duration::ZERO, bytes: Bytes::from_static(REFUSAL) }]);
        };
        request.body = Bytes::copy_from_slice(&bytes[seen.body.clone()]);
        request.body_bytes = request.body.len() as u64;
        let client = Client { keep_alive: true, old: false, head_only: request.method == "HEAD" };
        let planned = answer::answer(&self.sandbox, &request, SEED, now);
        merge(Steps::new(planned, client, &mut Dice::new(SEED)))
    }
}

/// What is due at one time is written at once.
fn merge(steps: impl Iterator<Item = Step>) -> Rc<[Step]> {
    let mut merged: Vec<(Duration, BytesMut)> = Vec::new();
    for step in steps {
        match merged.last_mut() {
            Some((at, bytes)) if *at == step.at => bytes.extend_from_slice(&step.bytes),
            _ => merged.push((step.at, BytesMut::from(&step.bytes[..]))),
        }
    }
    merged.into_iter().map(|(at, bytes)| Step { at, bytes: bytes.freeze() }).collect()
}

/// What a request gets that is not understood.
pub const REFUSAL: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// Kinds that are remembered: endpoints times plain, stream, stream with usage. Others are made each time.
const KINDS_MAX: usize = 32;
/// Any one number: the same answer in every run.
const SEED: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::request::{Found, find};

    fn answer(known: &mut Known, body: &str) -> Rc<[Step]> {
        let length = body.len();
        let wire = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let Found::Whole(seen) = find(wire.as_bytes()) else { panic!("a request") };
        known.answer(wire.as_bytes(), &seen, UnixTime::default())
    }

    const PLAIN: &str = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
    const STREAM: &str =
        r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"x"}]}"#;

    #[test]
    fn kinds_are_made_once_and_told_apart() {
        let mut known = Known::new(Sandbox::new());
        let (plain, again) = (answer(&mut known, PLAIN), answer(&mut known, PLAIN));
        assert!(Rc::ptr_eq(&plain, &again));
        assert_eq!(plain.len(), 1);
        assert!(plain[0].bytes.starts_with(b"HTTP/1.1 200"));
        let stream = answer(&mut known, STREAM);
        assert_eq!(stream.len(), 1, "without an interval all is one write");
        assert!(stream[0].bytes.ends_with(b"data: [DONE]\n\n\r\n0\r\n\r\n"));
        assert_eq!(known.kinds.len(), 2);
    }

    #[test]
    fn a_script_paces_the_answer() {
        let script = "first_byte=20ms&interval=5ms&chunks=4".parse().expect("a script");
        let mut known = Known::new(Sandbox::new().scripted(script));
        let stream = answer(&mut known, STREAM);
        let times: Vec<_> = stream.iter().map(|step| step.at.as_millis()).collect();
        assert_eq!(times[0], 20);
        assert!(
            times.len() > 3 && times.windows(2).all(|pair| pair[1] - pair[0] == 5),
            "{times:?}"
        );
    }
}
