//! The lines of quickstart.
