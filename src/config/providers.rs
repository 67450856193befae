//! The providers that a configuration may name.

pub use crate::provider::{by_name as provider_by_name, names as provider_names};
