//! The fast suite: pure layers, no sockets.

mod config;
