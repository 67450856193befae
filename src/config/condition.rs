//! The conditions of a conditional strategy, compiled: what is asked of a request's metadata, body and path, and
//! which target the answer chooses.

use regex::Regex;

/// A query and the target that it chooses.
#[derive(Clone, Debug)]
pub struct Condition {
    /// What must hold.
    pub query: Query,
    /// The target chosen if it does.
    pub then: Then,
    /// The query as it was written, as JSON.
    pub written: String,
}

/// The target that a condition or the default names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// The child with this index.
    Target(usize),
    /// A name that no child has. It only comes with requests, where it counts once it is chosen.
    Unknown(String),
}

/// Clauses of which all must hold; none: it always holds.
pub type Query = Vec<Clause>;

/// One entry of a query.
#[derive(Clone, Debug)]
pub enum Clause {
    /// `$and`: all of these.
    All(Vec<Query>),
    /// `$or`: at least one of these.
    Any(Vec<Query>),
    /// All of these about one fact.
    Tests(Fact, Vec<Test>),
}

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// `metadata.NAME`.
    Metadata(String),
    /// `params.NAME`: a top-level field of the client's body.
    Param(String),
    /// `url.pathname`.
    Pathname,
    /// A key of another form, which only comes with requests: always missing.
    Unknown,
}

/// One operator and what it compares with.
#[derive(Clone, Debug)]
pub enum Test {
    /// `$eq`, or a bare value: the same type and the same value.
    Equal(Literal),
    /// `$ne`: its opposite, so that it holds for what is missing.
    NotEqual(Literal),
    /// `$gt`, `$gte`, `$lt`, `$lte`: compared as numbers, whatever the types; NaN never holds.
    Order(Order, f64),
    /// `$in`: equal to one of these.
    In(Vec<Literal>),
    /// `$nin`: equal to none of these, so that it holds for what is missing.
    NotIn(Vec<Literal>),
    /// `$regex`: found anywhere in the text.
    Regex(Regex),
    /// An operand that nothing fits, such as a regular expression that is none. It only comes with requests.
    Never,
    /// An operator that does not exist. It only comes with requests, where it counts once it is reached.
    Unsupported(String),
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `$gt`.
    Greater,
    /// `$gte`.
    GreaterOrEqual,
    /// `$lt`.
    Less,
    /// `$lte`.
    LessOrEqual,
}

/// A value to compare with.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// A list or a map: equal to nothing, not even to its like.
    Structure,
}

/// The number that a text begins with, by the rules of JavaScript's `parseFloat`; NaN if there is none.
#[must_use]
pub fn parse_float(text: &str) -> f64 {
    let text = text.trim_start_matches(is_blank);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    if unsigned.starts_with("Infinity") {
        return sign * f64::INFINITY;
    }
    let number = unsigned.get(..decimal_length(unsigned.as_bytes())).unwrap_or_default();
    number.parse::<f64>().map_or(f64::NAN, |number| sign * number)
}

/// How many bytes the decimal number at the start has; 0: there is none.
fn decimal_length(bytes: &[u8]) -> usize {
    let digits_end = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut end = digits_end(0);
    if bytes.get(end) == Some(&b'.') {
        let fraction_end = digits_end(end + 1);
        if end > 0 || fraction_end > end + 1 {
            end = fraction_end;
        }
    }
    if end > 0 && matches!(bytes.get(end), Some(b'e' | b'E')) {
        let signed = matches!(bytes.get(end + 1), Some(b'+' | b'-'));
        let exponent = end + 1 + usize::from(signed);
        let exponent_end = digits_end(exponent);
        if exponent_end > exponent {
            end = exponent_end;
        }
    }
    end
}

/// White space by JavaScript's account.
fn is_blank(c: char) -> bool {
    c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_javascript_reads_them() {
        for (text, number) in [
            ("6", 6.0),
            (" \t\n\u{feff}\u{a0}6px", 6.0),
            ("-6.50e2x", -650.0),
            ("+.5", 0.5),
            ("5.", 5.0),
            ("5.e1", 50.0),
            ("1e", 1.0),
            ("1e+", 1.0),
            ("1e-3", 0.001),
            ("1_000", 1.0),
            ("0x10", 0.0),
            ("007", 7.0),
            ("1.2.3", 1.2),
            ("1,5", 1.0),
            ("Infinity!", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("1e999", f64::INFINITY),
        ] {
            assert_eq!(parse_float(text), number, "{text:?}");
        }
        for text in
            ["", " ", ".", "-", "+-1", "- 1", "e5", ".e5", "inf", "nan", "NaN", "abc6", "\u{85}6"]
        {
            assert!(parse_float(text).is_nan(), "{text:?}");
        }
    }
}
