//! x

pub mod mint;
