//! The fast suite: pure layers and simulated worlds, no sockets.

mod golden;
