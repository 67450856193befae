//! Compiles the conditions of a conditional strategy. In the file everything that could not work is a mistake; in
//! a request only what is reached counts, as with Portkey.

use crate::{
    base::limits,
    config::{
        condition::{Clause, Condition, Fact, Literal, Order, Query, Test, Then, parse_float},
        pattern::{self, PatternError},
        report::{Spot, did_you_mean},
        tree::Value,
    },
};

use super::node::Compiler;

/// How a conditional strategy chooses.
pub struct Choice {
    /// In order.
    pub conditions: Option<Vec<Condition>>,
    /// If none holds.
    pub default: Option<Then>,
}

/// The names of the targets.
struct Names {
    by_index: Vec<Option<String>>,
    /// One of them is a variable that was not looked up: any name may be right.
    open: bool,
}

impl Compiler<'_, '_> {
    /// Compiles `conditions` and `default` of a strategy.
    pub fn choice(&mut self, strategy: &Spot<'_>, targets: &Spot<'_>) -> Choice {
        let names = Names::of(targets);
        if !self.inline {
            self.warn_of_unreachable(targets, &names);
        }
        let conditions = match self.field(strategy, "conditions") {
            Some(found) => self.conditions(&found, &names),
            None if self.inline => None,
            None => {
                self.report.missing(strategy, "conditions", CONDITIONS_WANTED);
                None
            }
        };
        let default = match self.field(strategy, "default") {
            Some(found) => self.then(&found, &names),
            None => {
                if !self.inline {
                    let text = "names no default: a request that no condition fits is refused";
                    self.report.warning(strategy, text);
                }
                None
            }
        };
        Choice { conditions, default }
    }

    fn warn_of_unreachable(&mut self, targets: &Spot<'_>, names: &Names) {
        for (index, item) in targets.items().enumerate() {
            match names.by_index.get(index).and_then(Option::as_deref) {
                None => self.report.warning(&item, "has no name, so that no condition chooses it"),
                Some(name) if names.find(name) != Some(index) => {
                    self.report.warning(&item, "is never chosen: the name is taken further up");
                }
                Some(_) => {}
            }
        }
    }

    fn conditions(&mut self, spot: &Spot<'_>, names: &Names) -> Option<Vec<Condition>> {
        if !self.is_list(spot, &format!("a list of conditions; {CONDITIONS_WANTED}")) {
            return None;
        }
        if !self.inline && spot.tree.is_empty() {
            self.report.mistake(spot, format!("has no conditions; {CONDITIONS_WANTED}"));
        }
        Some(spot.items().filter_map(|item| self.condition(&item, names)).collect())
    }

    fn condition(&mut self, spot: &Spot<'_>, names: &Names) -> Option<Condition> {
        if !self.is_map_of(spot, &["query", "then"]) {
            return None;
        }
        let query = match self.field(spot, "query") {
            Some(found) => {
                let query = self.query(&found, 0);
                query.map(|query| (query, found.tree.to_json().to_string()))
            }
            None => {
                self.required(spot, "query", "write e.g. query: { metadata.plan: paid }");
                None
            }
        };
        let then = match self.field(spot, "then") {
            Some(found) => self.then(&found, names),
            None => {
                self.required(spot, "then", "write the name of the target that is chosen");
                None
            }
        };
        let (query, written) = query?;
        Some(Condition { query, then: then?, written })
    }

    /// The target of a name. An empty one is none, as in Portkey.
    fn then(&mut self, spot: &Spot<'_>, names: &Names) -> Option<Then> {
        let name = self.string(spot, "the name of a target")?;
        if name.is_empty() && self.inline && spot.name() == "default" {
            return None;
        }
        let found = names.find(name).map(Then::Target);
        if found.is_none() && !self.inline && !names.open {
            let hint = did_you_mean(name, names.by_index.iter().flatten().map(String::as_str));
            let message = format!("no target here has the name {}{hint}", spot.tree.shown());
            self.report.mistake(spot, message);
        }
        Some(found.unwrap_or_else(|| Then::Unknown(name.to_owned())))
    }

    fn query(&mut self, spot: &Spot<'_>, depth: usize) -> Option<Query> {
        if depth > limits::CONDITION_DEPTH_MAX {
            let most = limits::CONDITION_DEPTH_MAX;
            self.report.mistake(spot, format!("conditions may be nested {most} deep, no deeper"));
            return None;
        }
        let is_map = if self.inline { self.is_map(spot) } else { self.report.map(spot) };
        is_map.then(|| spot.entries().filter_map(|entry| self.clause(&entry, depth)).collect())
    }

    fn clause(&mut self, entry: &Spot<'_>, depth: usize) -> Option<Clause> {
        let together = match entry.name() {
            "$and" => Clause::All as fn(Vec<Query>) -> Clause,
            "$or" => Clause::Any,
            _ => {
                let fact = self.fact(entry);
                if fact.is_none() && entry.name().starts_with('$') {
                    return None; // what it holds is no list of operators
                }
                let tests = self.tests(entry)?;
                return Some(Clause::Tests(fact?, tests));
            }
        };
        if !matches!(&entry.tree.value, Value::List(items) if self.inline || !items.is_empty()) {
            if self.inline {
                let tests = self.tests(entry)?;
                return Some(Clause::Tests(Fact::Unknown, tests));
            }
            self.report.expected(entry, "a list of conditions; write e.g. [{ metadata.plan: a }]");
            return None;
        }
        let queries = entry.items().filter_map(|item| self.query(&item, depth + 1)).collect();
        Some(together(queries))
    }

    /// What a key asks about. Of a request's key the first two segments count, and nothing else has a value.
    fn fact(&mut self, entry: &Spot<'_>) -> Option<Fact> {
        let mut segments = entry.name().split('.');
        let (first, second) = (segments.next().unwrap_or_default(), segments.next());
        let exact = self.inline || segments.next().is_none();
        match (first, second) {
            ("metadata", Some(name)) if exact && !name.is_empty() => {
                Some(Fact::Metadata(name.to_owned()))
            }
            ("params", Some(name)) if exact && !name.is_empty() => {
                Some(Fact::Param(name.to_owned()))
            }
            ("url", Some("pathname")) if exact => Some(Fact::Pathname),
            _ if self.inline => Some(Fact::Unknown),
            _ => {
                let message = if first.starts_with('$') {
                    "stands where a fact or $and or $or must stand; write e.g. metadata.plan"
                } else {
                    "is nothing that can be asked; write metadata.NAME, params.NAME or url.pathname"
                };
                self.report.about_key(entry, message);
                None
            }
        }
    }

    /// What is asked of a fact: a bare value, or operators that must all hold.
    fn tests(&mut self, entry: &Spot<'_>) -> Option<Vec<Test>> {
        match &entry.tree.value {
            Value::Map(_) if !self.inline && entry.tree.is_empty() => {
                self.report.expected(entry, VALUE_WANTED);
                None
            }
            Value::Map(_) => {
                if !self.inline {
                    self.report.map(entry);
                }
                Some(entry.entries().filter_map(|operator| self.test(&operator)).collect())
            }
            Value::List(_) if !self.inline => {
                self.report.expected(entry, VALUE_WANTED);
                None
            }
            // JavaScript takes the indexes of a list for operators.
            Value::List(items) if items.is_empty() => Some(Vec::new()),
            Value::List(_) => Some(vec![Test::Unsupported("0".to_owned())]),
            _ => Some(vec![Test::Equal(self.literal(entry)?)]),
        }
    }

    fn test(&mut self, spot: &Spot<'_>) -> Option<Test> {
        Some(match spot.name() {
            "$eq" => Test::Equal(self.literal(spot)?),
            "$ne" => Test::NotEqual(self.literal(spot)?),
            "$gt" => Test::Order(Order::Greater, self.bound(spot)?),
            "$gte" => Test::Order(Order::GreaterOrEqual, self.bound(spot)?),
            "$lt" => Test::Order(Order::Less, self.bound(spot)?),
            "$lte" => Test::Order(Order::LessOrEqual, self.bound(spot)?),
            "$in" => self.literals(spot)?.map_or(Test::Never, Test::In),
            "$nin" => self.literals(spot)?.map_or(Test::Never, Test::NotIn),
            "$regex" => self.pattern(spot)?,
            other if self.inline => Test::Unsupported(other.to_owned()),
            other => {
                let hint = did_you_mean(other, OPERATORS.iter().copied());
                let known = match hint.is_empty() {
                    true => format!("; there are {}", OPERATORS.join(", ")),
                    false => hint,
                };
                let message = format!("there is no such operator{known}");
                self.report.about_key(spot, message);
                return None;
            }
        })
    }

    fn literal(&mut self, spot: &Spot<'_>) -> Option<Literal> {
        Some(match &spot.tree.value {
            Value::Null => Literal::Null,
            Value::Bool(truth) => Literal::Bool(*truth),
            Value::Number(number) => Literal::Number(number.as_f64().unwrap_or(f64::NAN)),
            Value::Text(text) => Literal::Text(text.clone()),
            Value::List(_) | Value::Map(_) if self.inline => Literal::Structure,
            Value::List(_) | Value::Map(_) => {
                self.report.expected(spot, "text, a number, true, false or null");
                return None;
            }
        })
    }

    /// The inner `None`: no list, which nothing is in and nothing is out of.
    fn literals(&mut self, spot: &Spot<'_>) -> Option<Option<Vec<Literal>>> {
        if matches!(spot.tree.value, Value::List(_)) {
            return Some(Some(spot.items().filter_map(|item| self.literal(&item)).collect()));
        }
        if self.inline {
            return Some(None);
        }
        self.report.expected(spot, "a list of values; write e.g. [gold, silver]");
        None
    }

    fn bound(&mut self, spot: &Spot<'_>) -> Option<f64> {
        let bound = match &spot.tree.value {
            Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
            Value::Text(text) => parse_float(text),
            _ => f64::NAN,
        };
        if bound.is_nan() && !self.inline {
            self.report.expected(spot, "a number; write e.g. 10");
            return None;
        }
        Some(bound)
    }

    fn pattern(&mut self, spot: &Spot<'_>) -> Option<Test> {
        let written = match &spot.tree.value {
            Value::Null | Value::Bool(_) | Value::Number(_) if self.inline => {
                spot.tree.to_json().to_string()
            }
            _ => self
                .string(spot, "a regular expression in quotes; write e.g. \"^gpt-\"")?
                .to_owned(),
        };
        self.patterns += 1;
        let most = limits::INLINE_REGEXES_MAX;
        if self.inline && self.patterns > most {
            if self.patterns == most + 1 {
                let text = format!("a config of a request has at most {most} regular expressions");
                self.report.mistake(spot, text);
            }
            return None;
        }
        let bytes_max = match self.inline {
            true => limits::INLINE_REGEX_BYTES_MAX,
            false => limits::CONDITION_REGEX_BYTES_MAX,
        };
        match pattern::compile(&written, bytes_max) {
            Ok(regex) => Some(Test::Regex(regex)),
            Err(PatternError::Invalid(_)) if self.inline => Some(Test::Never),
            Err(error) => {
                self.no_pattern(spot, &error);
                None
            }
        }
    }
}

impl Names {
    fn of(targets: &Spot<'_>) -> Names {
        let mut names = Names { by_index: Vec::new(), open: false };
        for target in targets.items() {
            let found = target.get("name");
            names.open |= found.as_ref().is_some_and(|name| name.tree.unknown);
            names.by_index.push(match found.map(|name| &name.tree.value) {
                Some(Value::Text(name)) => Some(name.clone()),
                _ => None,
            });
        }
        names
    }

    /// The first target of a name.
    fn find(&self, name: &str) -> Option<usize> {
        self.by_index.iter().position(|known| known.as_deref() == Some(name))
    }
}

const OPERATORS: [&str; 9] = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$regex"];
const CONDITIONS_WANTED: &str = "write e.g. [{ query: { metadata.plan: paid }, then: NAME }]";
const VALUE_WANTED: &str = "a value, or operators; write e.g. { $in: [gold, silver] }";
