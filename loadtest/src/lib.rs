//! The load tester of Trunkline: an open loop over HTTP/1.1 that counts latency from when a request was due, reads
//! streams as their readers feel them, and brings a scripted provider to put behind a gateway.
//!
//! In reading order: [`args`] → [`plan`] → [`schedule`] → [`run`] → [`lane`] → [`queue`] → [`connection`] →
//! [`response`] and [`stream`] → [`tally`] → [`report`] → [`table`] and [`hgrm`]; beside it [`upstream`].

pub mod args;
pub mod connection;
pub mod cpu;
pub mod hgrm;
pub mod lane;
pub mod plan;
pub mod queue;
pub mod replay;
pub mod report;
pub mod request;
pub mod response;
pub mod run;
pub mod schedule;
pub mod stream;
pub mod table;
pub mod tally;
pub mod target;
pub mod upstream;
