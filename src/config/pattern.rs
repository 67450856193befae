//! Regular expressions of conditions: written for JavaScript, matched in linear time. What means something else to
//! the matcher is rewritten; what no linear matcher can do is refused.

use std::{iter::Peekable, str::Chars};

use regex::{Regex, RegexBuilder};

/// Why a text is not used as a regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It is none: a sentence about why.
    Invalid(String),
    /// It is one in JavaScript, but needs what this names or more memory than it may have.
    Unsupported(&'static str),
}

/// Compiles a regular expression of JavaScript without flags; `bytes_max` bounds the compiled program.
pub fn compile(pattern: &str, bytes_max: usize) -> Result<Regex, PatternError> {
    let mut translation = Translation { rest: pattern.chars().peekable(), out: String::new() };
    translation.all()?;
    RegexBuilder::new(&translation.out).size_limit(bytes_max).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            PatternError::Unsupported("more memory than it may have")
        }
        other => {
            // The last line says what is wrong; those before it draw the pattern.
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            PatternError::Invalid(last.trim_start_matches("error: ").to_owned())
        }
    })
}

struct Translation<'p> {
    rest: Peekable<Chars<'p>>,
    out: String,
}

impl Translation<'_> {
    fn all(&mut self) -> Result<(), PatternError> {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class(),
                '.' => self.out.push_str(r"[^\n\r\u{2028}\u{2029}]"),
                '(' => self.group()?,
                '{' if !self.is_repetition() => self.out.push_str(r"\{"),
                '{' => self.repetition(),
                '}' => self.out.push_str(r"\}"),
                other => self.out.push(other),
            }
        }
        Ok(())
    }

    fn group(&mut self) -> Result<(), PatternError> {
        self.out.push('(');
        let ahead: String = self.rest.clone().take(3).collect();
        let looks = ["?=", "?!", "?<=", "?<!"].iter().any(|mark| ahead.starts_with(mark));
        if looks { Err(PatternError::Unsupported("look-around")) } else { Ok(()) }
    }

    /// Whether `digits}`, `digits,}` or `digits,digits}` follows; any other brace is a brace.
    fn is_repetition(&self) -> bool {
        let inner: String = self.rest.clone().take_while(|&c| c != '}').take(12).collect();
        let closed = self.rest.clone().nth(inner.chars().count()) == Some('}');
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (least, most) = inner.split_once(',').unwrap_or((&inner, ""));
        closed && is_number(least) && (most.is_empty() || is_number(most))
    }

    fn repetition(&mut self) {
        self.out.push('{');
        for c in self.rest.by_ref() {
            self.out.push(c);
            if c == '}' {
                return;
            }
        }
    }

    /// What follows a backslash outside of a class.
    fn escape(&mut self) -> Result<(), PatternError> {
        let Some(c) = self.rest.next() else {
            return Err(PatternError::Invalid("a backslash stands at its end".to_owned()));
        };
        match c {
            'b' | 'B' => self.out.push_str(if c == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" }),
            '1'..='9' | 'k' => return Err(PatternError::Unsupported("a backreference")),
            _ => self.escaped(c),
        }
        Ok(())
    }

    /// An escape that means the same inside and outside of a class.
    fn escaped(&mut self, c: char) {
        match c {
            'd' => self.out.push_str("[0-9]"),
            'D' => self.out.push_str("[^0-9]"),
            'w' => self.out.push_str("[0-9A-Za-z_]"),
            'W' => self.out.push_str("[^0-9A-Za-z_]"),
            '0' => self.out.push_str(r"\x00"),
            's' | 'S' | 'n' | 'r' | 't' | 'f' | 'v' | 'x' | 'u' => self.out.extend(['\\', c]),
            _ => self.literal(c),
        }
    }

    /// The character itself.
    fn literal(&mut self, c: char) {
        match c {
            '<' | '>' => self.out.push(c), // with a backslash they would be bounds of words
            _ if c.is_ascii_punctuation() => self.out.extend(['\\', c]),
            _ => self.out.push(c),
        }
    }

    /// A class. In JavaScript it holds no classes and knows no set operators.
    fn class(&mut self) {
        let negated = self.rest.next_if_eq(&'^').is_some();
        if self.rest.next_if_eq(&']').is_some() {
            self.out.push_str(if negated { "(?s:.)" } else { r"[^\x00-\x{10FFFF}]" });
            return;
        }
        self.out.push_str(if negated { "[^" } else { "[" });
        let mut can_begin_range = false;
        while let Some(c) = self.rest.next() {
            match c {
                ']' => {
                    self.out.push(']');
                    return;
                }
                '-' => {
                    let range = can_begin_range && self.range_ends();
                    self.out.push_str(if range { "-" } else { r"\-" });
                    if range {
                        self.class_item();
                    }
                    can_begin_range = false;
                }
                _ => can_begin_range = self.class_member(c),
            }
        }
    }

    /// Whether what follows a hyphen is one character, so that the hyphen makes a range.
    fn range_ends(&self) -> bool {
        let mut ahead = self.rest.clone();
        match ahead.next() {
            None | Some(']') => false,
            Some('\\') => !ahead.next().is_none_or(|c| "dDwWsS".contains(c)),
            Some(_) => true,
        }
    }

    fn class_item(&mut self) {
        if let Some(c) = self.rest.next() {
            self.class_member(c);
        }
    }

    /// One member of a class; true if it is one character, which a range may begin with.
    fn class_member(&mut self, c: char) -> bool {
        if c != '\\' {
            self.literal(c);
            return true;
        }
        match self.rest.next() {
            Some('b') => self.out.push_str(r"\x08"),
            Some(c) => {
                self.escaped(c);
                return !"dDwWsS".contains(c);
            }
            None => self.out.push('\\'), // the class never ends either, which is told
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern, 1 << 20).unwrap_or_else(|e| panic!("{pattern}: {e:?}")).is_match(text)
    }

    #[test]
    fn patterns_mean_what_they_mean_in_javascript() {
        for (pattern, yes, no) in [
            ("^gpt-4", "gpt-4o", "my-gpt-4"),
            ("o$", "gpt-4o", "gpt-4o\n"),
            ("^.$", "a", "\r"),
            (r"^\d+$", "42", "٤٢"),
            (r"^\w+$", "a_Z9", "é"),
            (r"^[\w-]+$", "a-b", "a.b"),
            (r"^[\w-.]+$", "a-.b", "a+b"),
            (r"^[a-\d]+$", "a-7", "b"),
            (r"^[^\d\s]$", "x", "5"),
            (r"^[\D]$", "x", "5"),
            (r"\bcat\b", "a cat.", "concat"),
            (r"\Bcat", "concat", "a cat"),
            (r"^[[]&&]$", "[&&]", "&"),
            (r"^[a&&b~~]+$", "a&b~", "c"),
            (r"^[+--]+$", "+,-", "."),
            (r"^[a-]$", "-", "b"),
            (r"^[-a]$", "-", "b"),
            (r"^[]^]?$", "^]", "]"),
            (r"[^]", "\n", ""),
            (r"^[\b]$", "\u{8}", "b"),
            (r"^a{2}$", "aa", "a{2}"),
            (r"^a{2,}$", "aaa", "a"),
            (r"^a{x}$", "a{x}", "a"),
            (r"^a{,3}$", "a{,3}", "aa"),
            (r"^\{a\}$", "{a}", "a"),
            (r"^a}$", "a}", "a"),
            (r"^\/v1\/chat$", "/v1/chat", "/v1"),
            (r"^\<b\>$", "<b>", "b"),
            (r"^\A\z$", "Az", ""),
            (r"^\u0041\x42$", "AB", "u0041"),
            (r"^(?<first>a)(?:b)$", "ab", "a"),
            (r"^\é$", "é", "e"),
            ("Gold|SILVER", "SILVER", "gold"),
        ] {
            if pattern == r"^[]^]?$" {
                // An empty class matches nothing at all.
                assert!(!matches(pattern, yes) && !matches(pattern, no));
                continue;
            }
            assert!(matches(pattern, yes), "{pattern} does not match {yes:?}");
            assert!(!matches(pattern, no), "{pattern} matches {no:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_told_apart_from_what_cannot_be_done() {
        for pattern in ["(", "a)", "[a", "*", "a\\", "[z-a]", "[\\", "{2}", r"\x4"] {
            assert!(
                matches!(compile(pattern, 1 << 20), Err(PatternError::Invalid(_))),
                "{pattern}"
            );
        }
        for pattern in ["(?=a)", "(?!a)", "(?<=a)", "(?<!a)b", r"(a)\1", r"(?<n>a)\k<n>"] {
            let error = compile(pattern, 1 << 20);
            assert!(matches!(error, Err(PatternError::Unsupported(_))), "{pattern}: {error:?}");
        }
        assert!(matches!(compile("a{1000}{1000}", 1 << 16), Err(PatternError::Unsupported(_))));
    }
}
