//! Words that every layer uses: bounds, units, identities, and the one error of the request path.

pub mod fault;
pub mod ids;
pub mod limits;
pub mod secret;
pub mod units;
