//! `trunkline-load`.
fn main() {}
