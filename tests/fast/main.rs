//! The fast tests: pure layers and simulated worlds, no sockets, all of it in seconds.

mod config;
mod edge;
mod explains;
mod fuzz_http;
mod fuzz_wire;
mod golden;
mod http;
mod json;
mod json_schema;
mod log;
mod monoio_http_faults;
mod nested;
mod policy;
mod sandbox;
mod sim;
mod sse;
mod tidy;
mod world;
