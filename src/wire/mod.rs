//! Bytes to values and back, without I/O: input may end anywhere, and nothing here waits or asks the time.

pub mod body;
pub mod head;
pub mod json;
pub mod record;
pub mod sse;
