//! Which child a conditional strategy chooses: its queries, asked of the facts of one request.

use std::{borrow::Cow, fmt};

use crate::{
    base::{
        fault::{Fault, Kind, Source, Stage},
        limits,
    },
    config::{
        condition::{Clause, Condition, Fact, Literal, Order, Test, Then, parse_float},
        policy::{Node, NodeKind},
    },
    wire::json::{self, Fields},
};

/// What conditions may ask of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// The API key's own metadata, which wins.
    pub fixed_metadata: &'a [(String, String)],
    /// The request's metadata.
    pub metadata: &'a [(String, String)],
    /// Names of the request's pairs whose value is the JSON text of something that is no text.
    pub metadata_json: &'a [String],
    /// The client's body and its top level, if it is a JSON object.
    pub params: Option<(&'a [u8], &'a Fields)>,
    /// The path, without the query.
    pub path: &'a str,
}

/// What a conditional strategy chose. Shown as `config.conditions[1] -> name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decided<'p> {
    /// The strategy's place in the config.
    pub path: &'p str,
    /// The condition that held; `None`: none did, and the default was taken.
    pub condition: Option<usize>,
    /// The name of the target.
    pub target: &'p str,
}

/// Why a conditional strategy chose nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<'p> {
    /// It has no conditions.
    NoConditions,
    /// No condition holds, and there is no default.
    NoTarget,
    /// It chose a name that no target has.
    UnknownTarget(&'p str),
    /// A query has an operator that does not exist.
    UnsupportedOperator(&'p str),
}

/// Chooses among the children of a conditional node.
pub fn decide<'p>(
    node: &'p Node,
    facts: &Facts<'_>,
) -> Result<(Decided<'p>, &'p Node), Refusal<'p>> {
    let NodeKind::Conditional { conditions, default, targets } = &node.kind else {
        return Err(Refusal::NoConditions);
    };
    let conditions = conditions.as_ref().ok_or(Refusal::NoConditions)?;
    let condition = first_that_holds(conditions, facts)?;
    let then = match condition.and_then(|at| conditions.get(at)) {
        Some(condition) => &condition.then,
        None => default.as_ref().ok_or(Refusal::NoTarget)?,
    };
    let target = match then {
        Then::Target(index) => targets.get(*index).ok_or(Refusal::NoTarget)?,
        Then::Unknown(name) => return Err(Refusal::UnknownTarget(name)),
    };
    Ok((Decided::new(node, condition, target), target))
}

/// Everything that a conditional node could choose.
pub(super) fn could_decide(node: &Node) -> impl Iterator<Item = (Decided<'_>, &Node)> {
    let (conditions, default, targets) = match &node.kind {
        NodeKind::Conditional { conditions, default, targets } => {
            (conditions.as_deref().unwrap_or_default(), default.as_ref(), targets.as_slice())
        }
        _ => (&[][..], None, &[][..]),
    };
    let of_conditions =
        conditions.iter().enumerate().map(|(at, condition)| (Some(at), &condition.then));
    of_conditions.chain(default.map(|then| (None, then))).filter_map(move |(condition, then)| {
        let Then::Target(index) = then else { return None };
        let target = targets.get(*index)?;
        Some((Decided::new(node, condition, target), target))
    })
}

impl<'p> Decided<'p> {
    fn new(node: &'p Node, condition: Option<usize>, target: &'p Node) -> Decided<'p> {
        let name = target.name.as_deref().unwrap_or_default();
        Decided { path: &node.path, condition, target: name }
    }
}

fn first_that_holds<'p>(
    conditions: &'p [Condition],
    facts: &Facts<'_>,
) -> Result<Option<usize>, Refusal<'p>> {
    for (at, condition) in conditions.iter().enumerate() {
        if all_clauses(&condition.query, facts)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

/// In the order in which they were written, up to the first that does not hold: what stands behind it is not even
/// looked at, so that an unknown operator there harms no one.
fn all_clauses<'p>(clauses: &'p [Clause], facts: &Facts<'_>) -> Result<bool, Refusal<'p>> {
    for clause in clauses {
        let holds = match clause {
            Clause::All(queries) => all_queries(queries, facts)?,
            Clause::Any(queries) => any_query(queries, facts)?,
            Clause::Tests(fact, tests) => all_tests(tests, facts.value(fact))?,
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

fn all_queries<'p>(queries: &'p [Vec<Clause>], facts: &Facts<'_>) -> Result<bool, Refusal<'p>> {
    for query in queries {
        if !all_clauses(query, facts)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn any_query<'p>(queries: &'p [Vec<Clause>], facts: &Facts<'_>) -> Result<bool, Refusal<'p>> {
    for query in queries {
        if all_clauses(query, facts)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn all_tests<'p>(tests: &'p [Test], value: Value<'_>) -> Result<bool, Refusal<'p>> {
    for test in tests {
        let holds = match test {
            Test::Equal(literal) => value.equals(literal),
            Test::NotEqual(literal) => !value.equals(literal),
            Test::Order(order, bound) => order_holds(*order, value.number(), *bound),
            Test::In(literals) => literals.iter().any(|literal| value.equals(literal)),
            Test::NotIn(literals) => !literals.iter().any(|literal| value.equals(literal)),
            Test::Regex(regex) => value.text().is_some_and(|text| regex.is_match(&text)),
            Test::Never => false,
            Test::Unsupported(operator) => return Err(Refusal::UnsupportedOperator(operator)),
        };
        if !holds {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Never holds where one of the two is NaN.
fn order_holds(order: Order, number: f64, bound: f64) -> bool {
    match order {
        Order::Greater => number > bound,
        Order::GreaterOrEqual => number >= bound,
        Order::Less => number < bound,
        Order::LessOrEqual => number <= bound,
    }
}

impl<'a> Facts<'a> {
    /// A fact as text; `None`: the request has none, or it is no scalar.
    pub(super) fn text(&self, fact: &Fact) -> Option<Cow<'a, str>> {
        match self.value(fact) {
            Value::Missing => None,
            value => value.text(),
        }
    }

    fn value(&self, fact: &Fact) -> Value<'a> {
        match fact {
            Fact::Metadata(name) => self.metadata(name),
            Fact::Param(name) => {
                let raw = self.params.and_then(|(body, fields)| fields.value(body, name));
                raw.map_or(Value::Missing, Value::of_json)
            }
            Fact::Pathname => Value::Text(Text::Plain(self.path)),
            Fact::Unknown => Value::Missing,
        }
    }

    fn metadata(&self, name: &str) -> Value<'a> {
        let find = |pairs: &'a [(String, String)]| {
            pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
        };
        if let Some(fixed) = find(self.fixed_metadata) {
            return Value::Text(Text::Plain(fixed));
        }
        match find(self.metadata) {
            None => Value::Missing,
            Some(json) if self.metadata_json.iter().any(|known| known == name) => {
                Value::of_json(json.as_bytes())
            }
            Some(text) => Value::Text(Text::Plain(text)),
        }
    }
}

/// The value of a fact. Numbers are doubles, as in JavaScript.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    /// There is none.
    Missing,
    Null,
    Bool(bool),
    Number(f64),
    Text(Text<'a>),
    /// A list or a map. It equals nothing and is no number.
    Structure,
}

/// A text, decoded only where that is needed: a field of a body may be very long.
#[derive(Clone, Copy, Debug)]
enum Text<'a> {
    Plain(&'a str),
    /// A JSON string, quotes included.
    Json(&'a [u8]),
}

impl<'a> Value<'a> {
    fn of_json(raw: &'a [u8]) -> Value<'a> {
        match raw.first() {
            Some(b'"') => Value::Text(Text::Json(raw)),
            Some(b'{' | b'[') => Value::Structure,
            _ if json::is_null(raw) => Value::Null,
            _ => match json::as_bool(raw) {
                Some(truth) => Value::Bool(truth),
                None => Value::Number(number_of_json(raw)),
            },
        }
    }

    /// Strictly: values of two types are never equal, `"6"` is not 6.
    fn equals(self, literal: &Literal) -> bool {
        match (self, literal) {
            (Value::Null, Literal::Null) => true,
            (Value::Bool(truth), Literal::Bool(wanted)) => truth == *wanted,
            (Value::Number(number), Literal::Number(wanted)) => number == *wanted,
            (Value::Text(text), Literal::Text(wanted)) => text.equals(wanted),
            _ => false,
        }
    }

    /// The number that it is, or that its text begins with.
    fn number(self) -> f64 {
        match self {
            Value::Number(number) => number,
            Value::Text(text) => text.head(NUMBER_BYTES_MAX).map_or(f64::NAN, |t| parse_float(&t)),
            Value::Missing | Value::Null | Value::Bool(_) | Value::Structure => f64::NAN,
        }
    }

    /// The text that a regular expression reads: what JavaScript makes of the value, `undefined` of a missing one.
    fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Value::Missing => Some(Cow::Borrowed("undefined")),
            Value::Null => Some(Cow::Borrowed("null")),
            Value::Bool(truth) => Some(Cow::Borrowed(if truth { "true" } else { "false" })),
            Value::Number(number) => Some(Cow::Owned(number_text(number))),
            Value::Text(text) => text.head(limits::CONDITION_TEXT_BYTES_MAX),
            Value::Structure => None,
        }
    }
}

impl<'a> Text<'a> {
    fn equals(self, wanted: &str) -> bool {
        match self {
            Text::Plain(text) => text == wanted,
            // An escape has at most six bytes for one of the text.
            Text::Json(raw) if raw.len() > 6 * wanted.len() + 2 => false,
            Text::Json(raw) => json::as_str(raw).is_some_and(|text| text == wanted),
        }
    }

    /// About the first `bytes_max` bytes. A JSON text that no text can be has none.
    fn head(self, bytes_max: usize) -> Option<Cow<'a, str>> {
        match self {
            Text::Plain(text) => {
                Some(Cow::Borrowed(text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)))
            }
            Text::Json(raw) if raw.len() <= bytes_max => json::as_str(raw),
            Text::Json(raw) => json_head(raw, bytes_max),
        }
    }
}

/// The decoded beginning of a JSON string: cut before the first escape, pair of surrogates or character that would
/// not be whole.
fn json_head(raw: &[u8], bytes_max: usize) -> Option<Cow<'_, str>> {
    let inner = raw.get(1..bytes_max)?;
    let mut end = 0;
    while let Some(rest) = inner.get(end..).filter(|rest| !rest.is_empty()) {
        let length = match rest {
            [b'\\', b'u', b'd' | b'D', b'8'..=b'9' | b'a'..=b'b' | b'A'..=b'B', ..]
                if rest.len() < 8 || rest.get(6..8) == Some(b"\\u") =>
            {
                12
            }
            [b'\\', b'u', ..] => 6,
            [b'\\', ..] => 2,
            _ => 1,
        };
        if length > rest.len() {
            break;
        }
        end += length;
    }
    let whole = inner.get(..end)?;
    let whole = match std::str::from_utf8(whole) {
        Ok(text) => text.as_bytes(),
        Err(cut) => whole.get(..cut.valid_up_to())?,
    };
    let quoted = [b"\"", whole, b"\""].concat();
    json::as_str(&quoted).map(|text| Cow::Owned(text.into_owned()))
}

fn number_of_json(raw: &[u8]) -> f64 {
    std::str::from_utf8(raw).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

/// A number as JavaScript writes it.
fn number_text(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        return match text.split_once('e') {
            Some((digits, power)) if !power.starts_with('-') => format!("{digits}e+{power}"),
            _ => text,
        };
    }
    if number == 0.0 { "0".to_owned() } else { number.to_string() }
}

impl fmt::Display for Decided<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.condition {
            Some(at) => write!(f, "{}.conditions[{at}] -> {}", self.path, self.target),
            None => write!(f, "{}.default -> {}", self.path, self.target),
        }
    }
}

impl fmt::Display for Refusal<'_> {
    /// In Portkey's own words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoConditions => f.write_str("No conditions passed in the query router"),
            Refusal::NoTarget => f.write_str("Query router did not resolve to any valid target"),
            Refusal::UnknownTarget(name) => {
                write!(f, "Invalid target name found in the query router: {name}")
            }
            Refusal::UnsupportedOperator(operator) => {
                write!(f, "Unsupported operator used in the query router: {operator}")
            }
        }
    }
}

impl From<Refusal<'_>> for Fault {
    fn from(refusal: Refusal<'_>) -> Fault {
        Fault::new(Stage::Plan, Source::Client, Kind::BadConfig, refusal.to_string())
    }
}

/// How much of a text is read as a number, in bytes: more digits than this change nothing.
const NUMBER_BYTES_MAX: usize = 1024;
