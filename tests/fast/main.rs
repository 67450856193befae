//! The fast tests: pure layers and simulated worlds, no sockets, all of it in seconds.

mod fuzz_http;
mod http;
mod monoio_http_faults;
mod policy;
