//! The routing policy: plans and walks against a reference model, and every rule of who is calling and which target.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod allowed;
mod asks;
mod conditions;
mod credentials;
mod guardrails;
mod headers;
mod health;
mod keys;
pub mod make;
mod random_conditions;
mod retries;
mod targets;
mod walks;
