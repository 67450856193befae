//! Why a body was refused, with the byte where that was seen, in words for the caller.

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// It begins with a byte order mark.
    ByteOrderMark,
    /// It has more bytes than a span can say.
    TooLong,
    /// It is not UTF-8.
    NotUtf8,
    /// It is not an object.
    NotAnObject,
    /// It ends in the middle of a value.
    Truncated,
    /// A key in double quotes is missing, as after a trailing comma.
    ExpectedKey,
    /// No `:` follows a key.
    ExpectedColon,
    /// No value follows a `:`.
    ExpectedValue,
    /// Neither `,` nor the end of the object follows a value.
    ExpectedCommaOrEnd,
    /// A number, `true`, `false` or `null` is misspelt.
    BadScalar,
    /// A key has an escape that JSON does not know.
    BadEscape,
    /// A string holds a control character that is not escaped.
    ControlInString,
    /// Something stands between values that belongs in a string.
    Stray,
    /// A closing bracket does not match the opening one.
    WrongBracket,
    /// More brackets are open at once than the scanner follows.
    TooDeep,
    /// A top-level key comes a second time.
    DuplicateKey,
    /// A top-level key is longer than a key may be.
    KeyTooLong,
    /// The object has more members than are looked at.
    TooManyMembers,
    /// Something follows the end of the object.
    TrailingBytes,
}

/// Why a body was refused, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// The offset of the byte at which it was seen.
    pub at: usize,
}

impl JsonError {
    /// A sentence for the caller.
    #[must_use]
    pub fn message(&self) -> String {
        let at = self.at;
        match self.kind {
            JsonErrorKind::ByteOrderMark => {
                "the body begins with a byte order mark: send UTF-8 without one".to_owned()
            }
            JsonErrorKind::TooLong => "the body is longer than a JSON body may be".to_owned(),
            JsonErrorKind::NotUtf8 => format!("the body is not valid UTF-8 at byte {at}"),
            JsonErrorKind::NotAnObject => format!("the body is not a JSON object at byte {at}"),
            JsonErrorKind::DuplicateKey => {
                format!("the body has a key twice at its top level: the second is at byte {at}")
            }
            kind => format!("the body is not valid JSON: {} at byte {at}", kind.detail()),
        }
    }
}

impl std::fmt::Display for JsonError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for JsonError {}

impl JsonErrorKind {
    fn detail(self) -> &'static str {
        match self {
            JsonErrorKind::ByteOrderMark => "a byte order mark",
            JsonErrorKind::TooLong => "more bytes than it may have",
            JsonErrorKind::NotUtf8 => "bytes that are not UTF-8",
            JsonErrorKind::NotAnObject => "no object",
            JsonErrorKind::Truncated => "it ends too early",
            JsonErrorKind::ExpectedKey => "a key in double quotes is missing",
            JsonErrorKind::ExpectedColon => "a colon is missing",
            JsonErrorKind::ExpectedValue => "a value is missing",
            JsonErrorKind::ExpectedCommaOrEnd => "a comma or the closing brace is missing",
            JsonErrorKind::BadScalar => "a misspelt number or literal",
            JsonErrorKind::BadEscape => "an unknown escape in a key",
            JsonErrorKind::ControlInString => "an unescaped control character in a string",
            JsonErrorKind::Stray => "a character that belongs in a string",
            JsonErrorKind::WrongBracket => "a closing bracket without its opening one",
            JsonErrorKind::TooDeep => "brackets nested too deep",
            JsonErrorKind::DuplicateKey => "a key for the second time",
            JsonErrorKind::KeyTooLong => "a key that is too long",
            JsonErrorKind::TooManyMembers => "too many members",
            JsonErrorKind::TrailingBytes => "something after the end of the object",
        }
    }
}
