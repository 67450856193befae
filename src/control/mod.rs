//! What is beside the request path: the ready set-up of `quickstart`.

pub mod quickstart;
