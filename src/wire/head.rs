//! HTTP/1.1 heads: bytes into ranges of the same bytes, no copy and no allocation. Tokens are httparse's work, but for
//! answers that are written as nearly all are; what makes two readers of one connection disagree (RFC 9112 section
//! 11.2) is refused here, by name.

pub use super::{
    fields::{HeaderList, Span, is_hop_by_hop},
    framing::{Framing, Version},
    head_end::Progress,
    head_error::HeadError,
    request::{HeadLimits, RequestHead, parse_request},
    response::{ResponseHead, parse_response},
    target::Method,
};
