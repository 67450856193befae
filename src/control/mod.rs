//! x

pub mod check;
pub mod key_command;
