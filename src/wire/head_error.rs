//! Everything that a head can be refused for, each with the sentence that tells its sender what to do instead.

use std::fmt;

use crate::base::limits::{CONNECTION_NAMES_MAX, HEADER_NAME_BYTES_MAX, HEADERS_MAX};

/// Why a head was refused. After any of them the place of the next message is unknown: the connection must close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadError {
    /// The head is over its limit in bytes.
    TooLong,
    /// More header lines than `HEADERS_MAX`.
    TooManyHeaders,
    /// A header name is over `HEADER_NAME_BYTES_MAX`.
    NameTooLong,
    /// `Connection` lists more than `CONNECTION_NAMES_MAX` header names.
    TooManyConnectionNames,
    /// More empty lines before the first line than are skipped.
    LeadingEmptyLines,
    /// A line ends in LF without CR.
    BareLf,
    /// A CR is not followed by LF.
    BareCr,
    /// A header line begins with a blank.
    ObsFold,
    /// A blank stands between a header name and its colon.
    SpaceBeforeColon,
    /// The first line is not `METHOD target HTTP/1.1`.
    BadRequestLine,
    /// The method is not a token.
    BadMethod,
    /// The target is not a path, nor an http URL.
    BadTarget,
    /// The target is a host and a port, as for CONNECT.
    AuthorityForm,
    /// The version is not HTTP/1.0 or HTTP/1.1.
    BadVersion,
    /// The first line of an answer is not `HTTP/1.1 200 reason`.
    BadStatusLine,
    /// A header line has no colon, or its name is not a token.
    BadHeaderName,
    /// A header value holds a NUL or another control byte.
    BadHeaderValue,
    /// An HTTP/1.1 request without `Host`.
    MissingHost,
    /// More than one `Host`.
    SeveralHosts,
    /// `Host` is not a host name with an optional port.
    BadHost,
    /// `Content-Length` is not a plain number of at most 64 bits.
    BadLength,
    /// More than one `Content-Length`.
    SeveralLengths,
    /// `Content-Length` and `Transfer-Encoding` together.
    LengthWithTransferEncoding,
    /// `Transfer-Encoding` is something else than `chunked`.
    UnknownTransferEncoding,
    /// More than one `Transfer-Encoding`.
    SeveralTransferEncodings,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    TransferEncodingInHttp10,
}

impl HeadError {
    /// Whether the answer is 431 instead of 400.
    #[must_use]
    pub fn is_too_large(self) -> bool {
        matches!(
            self,
            HeadError::TooLong
                | HeadError::TooManyHeaders
                | HeadError::NameTooLong
                | HeadError::TooManyConnectionNames
        )
    }

    /// What was wrong and what to send instead.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            HeadError::TooLong => "The head is over its size limit: send fewer or shorter headers.",
            HeadError::TooManyHeaders => "The head has more than 100 headers: send fewer.",
            HeadError::NameTooLong => "A header name is longer than 256 bytes: shorten it.",
            HeadError::TooManyConnectionNames => {
                "The connection header lists more than 16 names: list fewer."
            }
            HeadError::LeadingEmptyLines => {
                "Too many empty lines come before the first line: begin with the first line."
            }
            HeadError::BareLf => "A line of the head ends in LF alone: end each line with CR LF.",
            HeadError::BareCr => {
                "A CR in the head is not followed by LF: end each line with CR LF."
            }
            HeadError::ObsFold => {
                "A header line begins with a blank: write each header on one line."
            }
            HeadError::SpaceBeforeColon => {
                "A blank stands before a header's colon: put the colon right after the name."
            }
            HeadError::BadRequestLine => {
                "The request line is malformed: send METHOD, target and HTTP/1.1 with one space between them."
            }
            HeadError::BadMethod => {
                "The method is not an HTTP token: send plain HTTP/1.1, such as GET or POST."
            }
            HeadError::BadTarget => {
                "The request target is malformed: send a path that begins with / and percent-encode all but visible ASCII."
            }
            HeadError::AuthorityForm => {
                "The target names a host and a port, as for a tunnel: send a path instead."
            }
            HeadError::BadVersion => "The HTTP version is not served here: send HTTP/1.1.",
            HeadError::BadStatusLine => {
                "The status line is malformed: it must be HTTP/1.1 and three digits."
            }
            HeadError::BadHeaderName => {
                "A header line has no colon or a name with a forbidden character: send name: value."
            }
            HeadError::BadHeaderValue => {
                "A header value holds a control character: remove or encode it."
            }
            HeadError::MissingHost => "The host header is missing: HTTP/1.1 requires one.",
            HeadError::SeveralHosts => "The host header is repeated: send exactly one.",
            HeadError::BadHost => "The host header is malformed: send a host name and maybe :port.",
            HeadError::BadLength => {
                "The content-length is malformed: send decimal digits only, once."
            }
            HeadError::SeveralLengths => "The content-length is repeated: send exactly one.",
            HeadError::LengthWithTransferEncoding => {
                "Both content-length and transfer-encoding are given: send only one of them."
            }
            HeadError::UnknownTransferEncoding => {
                "The transfer-encoding is not known: send chunked, or a content-length."
            }
            HeadError::SeveralTransferEncodings => {
                "The transfer-encoding is repeated: send exactly one, chunked."
            }
            HeadError::TransferEncodingInHttp10 => {
                "HTTP/1.0 has no transfer-encoding: send HTTP/1.1, or a content-length."
            }
        }
    }
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for HeadError {}

// The sentences above name these bounds.
const _: () = assert!(HEADERS_MAX == 100 && HEADER_NAME_BYTES_MAX == 256);
const _: () = assert!(CONNECTION_NAMES_MAX == 16);
