//! Names what is wrong with a head that the tokenizer refused. Off the hot path: such a connection closes.

use httparse::Status;
use memchr::memchr_iter;

use super::{fields::is_token_byte, head_end::Side, head_error::HeadError};

/// Turns httparse's verdict on a whole head into ours.
pub(super) fn check_outcome(
    outcome: httparse::Result<usize>,
    message: &[u8],
    side: Side,
) -> Result<(), HeadError> {
    match outcome {
        // It must see the same end as we do, or bytes in between would vanish.
        Ok(Status::Complete(len)) if len == message.len() => Ok(()),
        Ok(_) => Err(first_line_fault(message, side)),
        Err(error) => Err(diagnose(error, message, side)),
    }
}

/// Names the fault; the head is refused anyway, so this may take another look at it.
fn diagnose(error: httparse::Error, message: &[u8], side: Side) -> HeadError {
    if has_bare_cr(message) {
        return HeadError::BareCr;
    }
    match error {
        httparse::Error::HeaderName => name_fault(message),
        httparse::Error::HeaderValue => HeadError::BadHeaderValue,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::Version if side == Side::Request => HeadError::BadVersion,
        _ => first_line_fault(message, side),
    }
}

fn has_bare_cr(message: &[u8]) -> bool {
    memchr_iter(b'\r', message).any(|at| message.get(at + 1) != Some(&b'\n'))
}

fn name_fault(message: &[u8]) -> HeadError {
    for line in message.split(|&byte| byte == b'\n').skip(1) {
        let name_bytes = line.iter().take_while(|&&byte| is_token_byte(byte)).count();
        match line[name_bytes..] {
            [b':', ..] if name_bytes > 0 => {}
            [b' ' | b'\t', ..] if name_bytes == 0 => return HeadError::ObsFold,
            [b' ' | b'\t', ref rest @ ..] if rest.trim_ascii_start().starts_with(b":") => {
                return HeadError::SpaceBeforeColon;
            }
            _ => return HeadError::BadHeaderName,
        }
    }
    HeadError::BadHeaderName
}

fn first_line_fault(message: &[u8], side: Side) -> HeadError {
    if side == Side::Response {
        return HeadError::BadStatusLine;
    }
    let line = message.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|&byte| byte == b' ');
    let method = words.next().unwrap_or_default();
    if method.is_empty() || !method.iter().all(|&byte| is_token_byte(byte)) {
        return HeadError::BadMethod;
    }
    match words.count() {
        2 => HeadError::BadTarget,
        _ => HeadError::BadRequestLine,
    }
}
