//! The real binary over loopback: started, called, broken and stopped as a user would, on both drivers.

#![allow(
    clippy::disallowed_methods,
    reason = "these tests stand outside of the gateway: they wait, and look at the clock"
)]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod harness;

mod admin;
mod bodies;
mod by_task;
mod chat;
mod drain;
mod dump;
mod edge;
mod errors;
mod estimate;
mod event_loop;
mod explain;
mod gone;
mod guardrails;
mod health;
mod integrity;
mod leaks;
mod log;
mod overload;
mod quickstart;
mod reload;
mod routing;
mod safety;
mod start;
mod streams;
mod tls;
mod twice;
