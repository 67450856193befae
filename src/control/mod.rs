//! Everything about the process that is not a request: starting and ending it, reloading, commands.

pub mod gateway;
pub mod load;
pub mod reload;
