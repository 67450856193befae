//! The machine: the only place that names the runtime, clocks, threads and files.

pub mod buffer;
pub mod log;
pub mod net;
