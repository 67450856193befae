//! Tests with real processes and files.

mod log;
