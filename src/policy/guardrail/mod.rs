//! Guardrails as pure functions: which texts are judged, what a check finds in them, how they are rewritten, what is
//! held back of a stream, and what the results say. Calls to other hosts are made elsewhere; their answers come in.

pub mod check;
mod json_values;
mod delta;
pub mod prefix;
pub mod redact;
pub mod results;
pub mod stream;
pub mod text;
pub mod webhook;

pub use check::{Finding, Subject, judge};
pub use results::{CheckResult, GuardrailResult, results_json};
