//! The decisions of the gateway as pure functions: who is calling, which target, in which order, what next after
//! this outcome, and what it cost. Time and dice are arguments.

pub mod ahead;
pub mod allow;
pub mod api_key;
pub mod attempt;
pub mod balance;
pub mod breaker;
pub mod client_address;
pub mod condition;
pub mod credential;
pub mod explain;
pub mod glob;
pub mod guardrail;
pub mod health;
pub mod hedge;
pub mod key;
pub mod params;
pub mod plan;
pub mod price;
pub mod rate_limit;
pub mod request_headers;
pub mod resolve;
pub mod target;
