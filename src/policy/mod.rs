//! x

pub mod key;
