//! The compiled filter, and its answer for a record.

use regex::Regex;

use super::lex::Operator;
use crate::{
    journal::field::{FieldName, Value},
    wire::record::Record,
};

#[derive(Clone, Debug)]
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Flag(FieldName, bool),
    Number(FieldName, Operator, u64),
    /// Equal, or with `false` not equal.
    Text(FieldName, bool, String),
    /// Matches, or with `false` does not.
    Match(FieldName, bool, Regex),
}

impl Node {
    pub(super) fn matches(&self, record: &Record) -> bool {
        match self {
            Node::All(nodes) => nodes.iter().all(|node| node.matches(record)),
            Node::Any(nodes) => nodes.iter().any(|node| node.matches(record)),
            Node::Not(node) => !node.matches(record),
            Node::Flag(field, wanted) => field.value(record) == Value::Flag(*wanted),
            Node::Number(field, operator, literal) => match field.value(record) {
                Value::Number(value) => compare(value, *operator, *literal),
                _ => false,
            },
            Node::Text(field, wanted, literal) => match field.value(record) {
                Value::Text(value) => (value == literal.as_str()) == *wanted,
                _ => false,
            },
            Node::Match(field, wanted, regex) => match field.value(record) {
                Value::Text(value) => regex.is_match(&value) == *wanted,
                _ => false,
            },
        }
    }
}

fn compare(value: u64, operator: Operator, literal: u64) -> bool {
    match operator {
        Operator::Equal => value == literal,
        Operator::NotEqual => value != literal,
        Operator::Less => value < literal,
        Operator::LessOrEqual => value <= literal,
        Operator::Greater => value > literal,
        Operator::GreaterOrEqual => value >= literal,
        Operator::Matches | Operator::MatchesNot => false,
    }
}
