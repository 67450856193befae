//! The filter language of `--where` and of the admin interface. Pure: text to a [`Filter`], a filter and a record
//! to yes or no.
//!
//! ```text
//! filter     = all ("||" all)*
//! all        = one ("&&" one)*
//! one        = "!" one | "(" filter ")" | field | field operator literal      a field alone: one that is true or false
//! operator   = "==" | "=" | "!=" | "<" | "<=" | ">" | ">=" | "~" | "!~"        ~ : matches a regular expression
//! field      = any of `journal::field::FIELDS` | "meta." key
//! literal    = word | "quoted" | 'quoted'     in quotes, \" \' \\ stand for themselves, other backslashes stay
//! number     = digits ["." digits] [unit]
//! unit       = ns us ms s m h d (times) | B kB MB GB KiB MiB GiB (bytes) | k M (counts) | USD or "$" in front (money)
//! ```
//! A missing value makes every comparison false: `ttft>2s` and `ttft<=2s` both leave out what has no first token.
//! Regular expressions match anywhere in the text unless anchored, and run in linear time.

mod eval;
mod lex;
mod literal;
mod parse;

use std::fmt;

use crate::wire::record::Record;

/// A compiled filter.
#[derive(Clone, Debug)]
pub struct Filter {
    root: eval::Node,
}

/// Why a text is not a filter, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Counted in characters from 1 on.
    pub column: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Filter {
    /// Compiles a filter.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(text: &str) -> Result<Filter, Mistake> {
        Ok(Filter { root: parse::parse(text)? })
    }

    /// Whether a record passes.
    #[must_use]
    pub fn matches(&self, record: &Record) -> bool {
        self.root.matches(record)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for Mistake {}

impl Mistake {
    fn new(column: usize, message: impl Into<String>) -> Mistake {
        Mistake { column, message: message.into() }
    }

    /// The filter with a mark under the place, and the message.
    #[must_use]
    pub fn show(&self, text: &str) -> String {
        let shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("  {shown}\n  {:>width$} {self}", "^", width = self.column)
    }
}
