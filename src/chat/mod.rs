//! A model call in provider-neutral words: what is asked, what comes back whole or in pieces, what it used.

pub mod delta;
pub mod estimate;
pub mod json;
pub mod reply;
pub mod request;
pub mod usage;
