//! Tokens to a filter, by recursive descent of bounded depth; every mistake says what to write.

use regex::RegexBuilder;

use super::{
    Mistake,
    eval::Node,
    lex::{Operator, Token, TokenKind, lex},
    literal,
};
use crate::{
    base::limits,
    journal::field::{FieldName, Kind},
};

pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
    if text.len() > limits::FILTER_BYTES_MAX {
        let message = format!("a filter has at most {} bytes", limits::FILTER_BYTES_MAX);
        return Err(Mistake::new(1, message));
    }
    let mut parser = Parser { tokens: lex(text)?.into_iter().peekable(), depth: 0 };
    let node = parser.any()?;
    let token = parser.take();
    match token.kind {
        TokenKind::End => Ok(node),
        TokenKind::Close => Err(Mistake::new(token.column, "there is no ( for this )")),
        _ => Err(Mistake::new(token.column, "write && or || between two conditions")),
    }
}

struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    depth: usize,
}

impl Parser {
    fn any(&mut self) -> Result<Node, Mistake> {
        let mut nodes = vec![self.all()?];
        while self.take_if(&TokenKind::Or) {
            nodes.push(self.all()?);
        }
        Ok(one_or(nodes, Node::Any))
    }

    fn all(&mut self) -> Result<Node, Mistake> {
        let mut nodes = vec![self.one()?];
        while self.take_if(&TokenKind::And) {
            nodes.push(self.one()?);
        }
        Ok(one_or(nodes, Node::All))
    }

    fn one(&mut self) -> Result<Node, Mistake> {
        let token = self.take();
        let column = token.column;
        self.depth += 1;
        if self.depth > limits::FILTER_DEPTH_MAX {
            return Err(Mistake::new(column, "this is nested too deeply"));
        }
        let node = match token.kind {
            TokenKind::Not => Node::Not(Box::new(self.one()?)),
            TokenKind::Open => self.group(column)?,
            TokenKind::Word(name) => self.condition(&name, column)?,
            TokenKind::Quoted(text) => {
                let message = format!("begin with a field, as in model==\"{text}\"");
                return Err(Mistake::new(column, message));
            }
            _ => {
                return Err(Mistake::new(column, "write a condition here, as in status>=500"));
            }
        };
        self.depth -= 1;
        Ok(node)
    }

    fn group(&mut self, open_column: usize) -> Result<Node, Mistake> {
        let node = self.any()?;
        let token = self.take();
        match token.kind {
            TokenKind::Close => Ok(node),
            TokenKind::End => Err(Mistake::new(open_column, "there is no ) for this (")),
            _ => Err(Mistake::new(token.column, "write &&, || or ) here")),
        }
    }

    fn condition(&mut self, name: &str, column: usize) -> Result<Node, Mistake> {
        let field = FieldName::find(name).map_err(|message| Mistake::new(column, message))?;
        let Some(TokenKind::Operator(operator)) = self.tokens.peek().map(|token| &token.kind)
        else {
            return alone(field, name, column);
        };
        let operator = *operator;
        let operator_column = self.take().column;
        check_operator(&field, name, operator, operator_column)?;
        let token = self.take();
        let literal = match token.kind {
            TokenKind::Word(word) | TokenKind::Quoted(word) => word,
            _ => {
                let message = format!("write what {name} is compared with");
                return Err(Mistake::new(token.column, message));
            }
        };
        comparison(field, name, operator, literal, token.column)
    }

    fn take(&mut self) -> Token {
        let end = Token { column: 1, kind: TokenKind::End };
        let last = self.tokens.peek().is_some_and(|token| token.kind == TokenKind::End);
        if last {
            self.tokens.peek().cloned().unwrap_or(end)
        } else {
            self.tokens.next().unwrap_or(end)
        }
    }

    fn take_if(&mut self, kind: &TokenKind) -> bool {
        self.tokens.next_if(|token| token.kind == *kind).is_some()
    }
}

fn one_or(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            many(nodes)
        }
        None => many(nodes),
    }
}

/// A field without an operator.
fn alone(field: FieldName, name: &str, column: usize) -> Result<Node, Mistake> {
    if field.kind() == Kind::Flag {
        return Ok(Node::Flag(field, true));
    }
    let example = match field.kind() {
        Kind::Text => format!("{name}==\"…\" or {name}~\"…\""),
        Kind::Time => format!("{name}>2s"),
        _ => format!("{name}>0"),
    };
    Err(Mistake::new(column, format!("{name} is not true or false: compare it, as in {example}")))
}

fn check_operator(
    field: &FieldName,
    name: &str,
    operator: Operator,
    column: usize,
) -> Result<(), Mistake> {
    use Operator::{Equal, Matches, MatchesNot, NotEqual};
    let operator_text = operator.as_str();
    let message = match (field.kind(), operator) {
        (_, Equal | NotEqual) | (Kind::Text, Matches | MatchesNot) => return Ok(()),
        (Kind::Text, _) => {
            format!("{name} is a text: compare it with ==, !=, ~ or !~, not {operator_text}")
        }
        (Kind::Flag, _) => format!("{name} is true or false: write {name} or !{name}"),
        (_, Matches | MatchesNot) => {
            format!(
                "{name} is a number: compare it with ==, !=, <, <=, > or >=, not {operator_text}"
            )
        }
        _ => return Ok(()),
    };
    Err(Mistake::new(column, message))
}

fn comparison(
    field: FieldName,
    name: &str,
    operator: Operator,
    literal: String,
    column: usize,
) -> Result<Node, Mistake> {
    let at = |message: String| Mistake::new(column, message);
    let wanted = matches!(operator, Operator::Equal | Operator::Matches);
    match (field.kind(), operator) {
        (Kind::Text, Operator::Matches | Operator::MatchesNot) => {
            let regex = RegexBuilder::new(&literal)
                .size_limit(limits::FILTER_REGEX_BYTES_MAX)
                .build()
                .map_err(|error| {
                    at(format!("this is no regular expression: {}", reason(&error)))
                })?;
            Ok(Node::Match(field, wanted, regex))
        }
        (Kind::Text, _) => Ok(Node::Text(field, wanted, literal)),
        (Kind::Flag, _) => match literal.as_str() {
            "true" => Ok(Node::Flag(field, wanted)),
            "false" => Ok(Node::Flag(field, !wanted)),
            _ => Err(at(format!("{name} is true or false: write {name} or !{name}"))),
        },
        (kind, _) => {
            let value = literal::number(kind, name, &literal).map_err(at)?;
            Ok(Node::Number(field, operator, value))
        }
    }
}

/// The last line of a regex error says what is wrong; those before it draw the pattern.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}
