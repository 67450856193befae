//! Bytes to values and back, without I/O: input may end anywhere, and nothing here waits or asks the time.

mod block;
pub mod body;
mod body_error;
mod fields;
mod framing;
pub mod head;
mod head_end;
mod head_error;
mod head_fault;
mod head_plain;
pub mod json;
pub mod proxy;
pub mod record;
pub mod render;
mod request;
mod response;
pub mod seen;
pub mod sse;
mod target;
