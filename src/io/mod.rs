//! The machine: the only place that names the event loop, clocks, threads and files.

pub mod alarm;
pub mod buffer;
pub mod certificates;
pub mod clock;
pub mod dns;
pub mod event;
pub mod hub;
pub mod inbound;
pub mod kernel;
pub mod ledger;
pub mod log;
pub mod machine;
pub mod net;
mod pages;
pub mod pool;
pub mod race;
pub mod tls;
pub mod wheel;
pub mod worker;
