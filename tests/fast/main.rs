//! The fast suite: pure layers and simulated worlds, no sockets, a few seconds for all of it.

mod sandbox;
mod world;
