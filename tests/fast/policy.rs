//! The routing policy: plans and walks against a reference model, and every rule of who is calling and which target.

mod headers;
mod keys;
mod make;
mod retries;
mod targets;
mod walks;
