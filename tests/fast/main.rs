//! Tests without sockets: all of them together take seconds.

mod log;
