//! The built-in fake provider: OpenAI and Anthropic wire formats over real sockets, scripted. `quickstart`, the
//! tests and the load tester use it.
//!
//! What is answered is pure ([`answer`]: request, script, dice and time in, bytes and their schedule out);
//! [`server`] alone waits and writes. [`script`] says how an answer is paced and how it fails.

pub mod answer;
mod anthropic;
pub mod ask;
pub mod body;
pub mod dice;
mod embeddings;
mod events;
pub mod host;
pub mod http;
mod openai;
pub mod recorder;
mod refusal;
mod responses;
mod said;
mod sample;
pub mod script;
pub mod server;
mod text;
mod upload;
pub mod wire;

use std::cell::RefCell;

use crate::base::{limits, secret::Secret};
use recorder::Recorder;
use script::Script;

/// One fake provider: its settings and what it remembers. Shared by the connections of a core.
#[derive(Debug, Default)]
pub struct Sandbox {
    /// What callers must present; `None`: anything, and nothing, is let in.
    pub expected_key: Option<Secret>,
    /// How it answers where neither the model nor the header says otherwise.
    pub script: Script,
    /// Requests and disconnects, if they are to be remembered.
    pub recorder: Option<RefCell<Recorder>>,
}

impl Sandbox {
    /// A sandbox that answers at once and remembers nothing.
    #[must_use]
    pub fn new() -> Sandbox {
        Sandbox::default()
    }

    /// A sandbox at the pace of a quick model, so that a stream is seen to stream.
    #[must_use]
    pub fn lively() -> Sandbox {
        let script = Script {
            first_byte: script::Latency::Fixed(limits::SANDBOX_FIRST_BYTE),
            interval: limits::SANDBOX_INTERVAL,
            ..Script::default()
        };
        Sandbox { script, ..Sandbox::default() }
    }

    /// The same sandbox, remembering what it receives.
    #[must_use]
    pub fn recording(mut self) -> Sandbox {
        self.recorder = Some(RefCell::new(Recorder::default()));
        self
    }

    /// The same sandbox, refusing every other credential with the provider's own 401.
    #[must_use]
    pub fn expecting(mut self, key: &str) -> Sandbox {
        self.expected_key = Some(Secret::new(key.to_owned()));
        self
    }

    /// The same sandbox, with this script where a request brings none.
    #[must_use]
    pub fn scripted(mut self, script: Script) -> Sandbox {
        self.script = script;
        self
    }
}
