//! Guardrails as pure functions: which texts are judged, what a check finds in them, how they are rewritten, what is
//! held back of a stream, and what the results say. Calls to other hosts are made elsewhere; their answers come in.

mod about;
pub mod check;
mod delta;
mod json_values;
pub mod local;
pub mod prefix;
pub mod redact;
pub mod results;
pub mod stream;
pub mod text;
pub mod webhook;

pub use check::{Finding, Subject, judge};
pub use local::{Judged, Matter};
pub use results::{CheckResult, GuardrailResult, results_json};
