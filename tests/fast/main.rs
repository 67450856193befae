//! The fast tests: pure layers and simulated worlds, no sockets, all of it in seconds.

mod fuzz_http;
mod http;
mod monoio_http_faults;
mod policy;
//! The tests that take no sockets and no time: JSON and event streams against other readings of them, and against
//! seeded noise.

mod fuzz_wire;
mod json;
mod sse;
//! The fast suite: pure layers and simulated worlds, no sockets, a few seconds for all of it.

mod sandbox;
mod world;
