//! The tests that take no sockets and no time: JSON and event streams against other readings of them, and against
//! seeded noise.

mod fuzz_wire;
mod json;
mod sse;
