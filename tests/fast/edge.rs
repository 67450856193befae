//! What stands before Trunkline and behind it, without sockets: the PROXY protocol, forwarded addresses, and which
//! hosts an egress proxy leads to.

mod forwarded;
mod proxy_header;
mod through;
