//! The fast suite: everything that needs no socket.

mod policy;
