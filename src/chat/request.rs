//! x

/// x
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request;
