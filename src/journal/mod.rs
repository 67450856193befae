//! What can be asked of logged exchanges: derived numbers, fields by name, and the filter language.

pub mod field;
pub mod query;
pub mod view;
