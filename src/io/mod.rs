//! The machine: the only place that names the runtime, clocks, threads and files.

pub mod alarm;
pub mod buffer;
pub mod clock;
pub mod dns;
pub mod hub;
pub mod inbound;
pub mod ledger;
pub mod log;
pub mod machine;
pub mod net;
pub mod pages;
pub mod pool;
pub mod race;
pub mod tls;
pub mod uring;
pub mod wheel;
pub mod worker;
