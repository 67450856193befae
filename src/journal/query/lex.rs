//! Text to tokens, each with its column.

use super::Mistake;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) column: usize,
    pub(super) kind: TokenKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    And,
    Or,
    Not,
    Open,
    Close,
    Operator(Operator),
    Word(String),
    Quoted(String),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    MatchesNot,
}

impl Operator {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
            Operator::Matches => "~",
            Operator::MatchesNot => "!~",
        }
    }
}

/// All tokens, an `End` last.
pub(super) fn lex(text: &str) -> Result<Vec<Token>, Mistake> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        while chars.get(at).is_some_and(|c| c.is_whitespace()) {
            at += 1;
        }
        let Some(&first) = chars.get(at) else { break };
        let rest = &chars[at..];
        let (kind, length) = match first {
            '"' | '\'' => quoted(rest, at + 1)?,
            _ if OPERATOR_CHARS.contains(first) => symbol(rest, at + 1)?,
            _ => word(rest),
        };
        tokens.push(Token { column: at + 1, kind });
        at += length;
    }
    tokens.push(Token { column: chars.len() + 1, kind: TokenKind::End });
    Ok(tokens)
}

fn symbol(rest: &[char], column: usize) -> Result<(TokenKind, usize), Mistake> {
    use Operator::{
        Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Matches, MatchesNot, NotEqual,
    };
    let operator = TokenKind::Operator;
    let second = rest.get(1).copied().unwrap_or(' ');
    Ok(match (rest[0], second) {
        ('&', '&') => (TokenKind::And, 2),
        ('|', '|') => (TokenKind::Or, 2),
        ('&', _) => return Err(Mistake::new(column, "write && for and")),
        ('|', _) => return Err(Mistake::new(column, "write || for or")),
        ('=', '=') => (operator(Equal), 2),
        ('=', '~') => return Err(Mistake::new(column, "write ~ for a regular expression")),
        ('=', _) => (operator(Equal), 1),
        ('!', '=') => (operator(NotEqual), 2),
        ('!', '~') => (operator(MatchesNot), 2),
        ('!', _) => (TokenKind::Not, 1),
        ('<', '=') => (operator(LessOrEqual), 2),
        ('<', '>') => return Err(Mistake::new(column, "write != for not equal")),
        ('<', _) => (operator(Less), 1),
        ('>', '=') => (operator(GreaterOrEqual), 2),
        ('>', _) => (operator(Greater), 1),
        ('~', _) => (operator(Matches), 1),
        ('(', _) => (TokenKind::Open, 1),
        _ => (TokenKind::Close, 1),
    })
}

fn word(rest: &[char]) -> (TokenKind, usize) {
    let ends = |c: &char| c.is_whitespace() || OPERATOR_CHARS.contains(*c) || "\"'".contains(*c);
    let length = rest.iter().position(ends).unwrap_or(rest.len());
    (TokenKind::Word(rest[..length].iter().collect()), length)
}

fn quoted(rest: &[char], column: usize) -> Result<(TokenKind, usize), Mistake> {
    let quote = rest[0];
    let mut text = String::new();
    let mut at = 1;
    while let Some(&c) = rest.get(at) {
        if c == quote {
            return Ok((TokenKind::Quoted(text), at + 1));
        }
        let escaped = rest.get(at + 1).filter(|next| c == '\\' && "\"'\\".contains(**next));
        text.push(*escaped.unwrap_or(&c));
        at += if escaped.is_some() { 2 } else { 1 };
    }
    Err(Mistake::new(column, format!("this text never ends: add a {quote} behind it")))
}

const OPERATOR_CHARS: &str = "&|!=<>~()";
