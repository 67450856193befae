//! What is remembered about exchanges: one's facts as they gather, the language that finds them again, the counts.

pub mod entry;
pub mod field;
pub mod histogram;
pub mod metrics;
pub mod query;
pub mod retrace;
pub mod slow;
pub mod tally;
pub mod view;
