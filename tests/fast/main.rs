//! The fast tests: pure layers and simulated worlds, no sockets, all of it in seconds.

mod fuzz_http;
mod fuzz_wire;
mod http;
mod json;
mod monoio_http_faults;
mod policy;
mod sandbox;
mod sse;
mod world;
//! The fast suite: pure layers and simulated worlds, no sockets.

mod golden;
