//! What the benchmarks share: a machine in memory with a gateway on it, and a typical record.

pub mod memory;
pub mod typical;
