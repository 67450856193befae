//! Everything about the process that is not a request: starting and ending it, reloading, commands.

pub mod admin;
pub mod check;
pub mod explain;
pub mod gateway;
pub mod key_command;
pub mod load;
pub mod quickstart;
pub mod reload;
pub mod slow;
