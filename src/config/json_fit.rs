//! Whether a JSON value fits a schema, and where it does not.

use serde_json::{Number, Value};

use super::json_schema::{FORMATS, Format, Rule, Schema, Sized, TYPES, Type};
use crate::base::limits;

/// One way in which a value does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where in the value, as a JSON pointer.
    pub path: String,
    /// What is wrong there.
    pub message: String,
}

impl Schema {
    /// How a value does not fit; empty: it does. At most [`limits::SCHEMA_MISFITS_MAX`] are told.
    #[must_use]
    pub fn misfits(&self, value: &Value) -> Vec<Misfit> {
        let mut check = Check { schema: self, steps: 0, told: Vec::new(), at: String::new() };
        let fits = check.node(self.root, value, 0);
        if !fits && check.told.is_empty() {
            check.tell("does not fit the schema");
        }
        if fits { Vec::new() } else { check.told }
    }
}

struct Check<'s> {
    schema: &'s Schema,
    /// Rules looked at: a schema that refers to itself without end, or to much, ends here.
    steps: usize,
    told: Vec<Misfit>,
    at: String,
}

impl Check<'_> {
    fn tell(&mut self, message: &str) -> bool {
        if self.told.len() < limits::SCHEMA_MISFITS_MAX {
            self.told.push(Misfit { path: self.at.clone(), message: message.to_owned() });
        }
        false
    }

    fn node(&mut self, index: usize, value: &Value, depth: usize) -> bool {
        if depth > limits::JSON_DEPTH_MAX {
            return self.tell("is nested deeper than is looked at");
        }
        let schema = self.schema;
        let Some(node) = schema.nodes.get(index) else { return true };
        let mut fits = true;
        for rule in &node.rules {
            self.steps += 1;
            if self.steps > limits::SCHEMA_STEPS_MAX {
                return self.tell("takes more steps to check than are made");
            }
            fits &= self.rule(rule, value, depth);
        }
        fits
    }

    /// The same without a word of why not.
    fn silently(&mut self, index: usize, value: &Value, depth: usize) -> bool {
        let before = self.told.len();
        let fits = self.node(index, value, depth + 1);
        self.told.truncate(before);
        fits
    }

    fn within(&mut self, step: &str, index: usize, value: &Value, depth: usize) -> bool {
        let before = self.at.len();
        self.at.push('/');
        self.at.push_str(&step.replace('~', "~0").replace('/', "~1"));
        let fits = self.node(index, value, depth + 1);
        self.at.truncate(before);
        fits
    }

    fn rule(&mut self, rule: &Rule, value: &Value, depth: usize) -> bool {
        match rule {
            Rule::Never => self.tell("is not allowed here"),
            Rule::Types(types) => {
                types.iter().any(|one| is_type(value, *one)) || self.tell(&wrong_type(types))
            }
            Rule::OneValueOf(values) => {
                values.iter().any(|one| same(one, value))
                    || self.tell(&format!("does not match any of {}", Value::from(values.clone())))
            }
            Rule::Size { of, least, most } => self.size(*of, *least, *most, value),
            Rule::Bound { .. } | Rule::MultipleOf(_) => self.number(rule, value),
            Rule::Pattern(_) | Rule::Format(_) => self.text(rule, value),
            Rule::Items { .. } | Rule::UniqueItems | Rule::Contains { .. } => {
                self.array(rule, value, depth)
            }
            Rule::Required(_)
            | Rule::DependentRequired(_)
            | Rule::Properties { .. }
            | Rule::PropertyNames(_) => self.object(rule, value, depth),
            _ => self.combined(rule, value, depth),
        }
    }

    fn combined(&mut self, rule: &Rule, value: &Value, depth: usize) -> bool {
        match rule {
            Rule::All(all) => all.iter().fold(true, |so_far, index| {
                let fits = self.node(*index, value, depth + 1);
                so_far && fits
            }),
            Rule::Any(any) => {
                any.iter().any(|index| self.silently(*index, value, depth))
                    || self.tell("does not fit any of the schemas of anyOf")
            }
            Rule::One(one) => {
                let fitting = one.iter().filter(|index| self.silently(**index, value, depth));
                fitting.count() == 1 || self.tell("does not fit exactly one of oneOf")
            }
            Rule::Not(index) => {
                !self.silently(*index, value, depth) || self.tell("fits what it must not fit")
            }
            Rule::If { condition, then, otherwise } => {
                let next = if self.silently(*condition, value, depth) { then } else { otherwise };
                next.is_none_or(|index| self.node(index, value, depth + 1))
            }
            _ => true,
        }
    }

    fn size(&mut self, of: Sized, least: Option<u64>, most: Option<u64>, value: &Value) -> bool {
        let (count, what) = match (of, value) {
            (Sized::String, Value::String(text)) => (text.chars().count(), "characters"),
            (Sized::Array, Value::Array(items)) => (items.len(), "items"),
            (Sized::Object, Value::Object(members)) => (members.len(), "properties"),
            _ => return true,
        };
        let count = count as u64;
        match (least, most) {
            (Some(least), _) if count < least => {
                self.tell(&format!("has fewer than {least} {what}"))
            }
            (_, Some(most)) if count > most => self.tell(&format!("has more than {most} {what}")),
            _ => true,
        }
    }

    fn number(&mut self, rule: &Rule, value: &Value) -> bool {
        let Some(number) = value.as_f64() else { return true };
        match rule {
            Rule::Bound { than, above, exclusive } => {
                let order = if *above { number > *than } else { number < *than };
                let word = if *above { "above" } else { "below" };
                order
                    || (!exclusive && number == *than)
                    || self.tell(&format!("is not {word} {than}"))
            }
            Rule::MultipleOf(step) => {
                let times = number / step;
                let whole = (times - times.round()).abs() <= f64::EPSILON * times.abs().max(1.0);
                whole || self.tell(&format!("is no multiple of {step}"))
            }
            _ => true,
        }
    }

    fn text(&mut self, rule: &Rule, value: &Value) -> bool {
        let Value::String(text) = value else { return true };
        match rule {
            Rule::Pattern(regex) => {
                regex.is_match(text) || self.tell("does not match the pattern of the schema")
            }
            Rule::Format(format) => {
                has_format(text, *format)
                    || self.tell(&format!("does not match the format \"{}\"", name_of(*format)))
            }
            _ => true,
        }
    }

    fn array(&mut self, rule: &Rule, value: &Value, depth: usize) -> bool {
        let Value::Array(items) = value else { return true };
        match rule {
            Rule::UniqueItems => self.unique(items) || self.tell("has an item twice"),
            Rule::Items { prefix, rest } => {
                let mut fits = true;
                for (at, item) in items.iter().enumerate() {
                    let Some(index) = prefix.get(at).or(rest.as_ref()) else { break };
                    fits &= self.within(&at.to_string(), *index, item, depth);
                }
                fits
            }
            Rule::Contains { what, least, most } => {
                let found = items.iter().filter(|item| self.silently(*what, item, depth));
                let found = found.count() as u64;
                let fits = found >= *least && most.is_none_or(|most| found <= most);
                fits || self.tell(&format!("has {found} items of the kind that contains asks for"))
            }
            _ => true,
        }
    }

    /// Each is compared with each: the steps bound it.
    fn unique(&mut self, items: &[Value]) -> bool {
        self.steps = self.steps.saturating_add(items.len() * items.len() / 2);
        if self.steps > limits::SCHEMA_STEPS_MAX {
            return self.tell("takes more steps to check than are made");
        }
        let mut pairs = items.iter().enumerate();
        pairs.all(|(at, item)| !items[..at].iter().any(|earlier| same(earlier, item)))
    }

    fn object(&mut self, rule: &Rule, value: &Value, depth: usize) -> bool {
        let Value::Object(members) = value else { return true };
        let mut fits = true;
        match rule {
            Rule::Required(names) => {
                for name in names.iter().filter(|name| !members.contains_key(*name)) {
                    fits = self.tell(&format!("does not have the required property \"{name}\""));
                }
            }
            Rule::DependentRequired(all) => {
                for (_, names) in all.iter().filter(|(given, _)| members.contains_key(given)) {
                    for name in names.iter().filter(|name| !members.contains_key(*name)) {
                        fits = self.tell(&format!("does not have the property \"{name}\""));
                    }
                }
            }
            Rule::PropertyNames(index) => {
                for name in members.keys() {
                    fits &= self.within(name, *index, &Value::from(name.as_str()), depth);
                }
            }
            Rule::Properties { named, matching, others } => {
                for (name, member) in members {
                    let by_name = named.iter().filter(|(known, _)| known == name);
                    let by_pattern = matching.iter().filter(|(regex, _)| regex.is_match(name));
                    let ruled = by_name.map(|one| one.1).chain(by_pattern.map(|one| one.1));
                    let mut ruled: Vec<usize> = ruled.collect();
                    if ruled.is_empty() {
                        ruled.extend(others);
                    }
                    for index in ruled {
                        fits &= self.within(name, index, member, depth);
                    }
                }
            }
            _ => {}
        }
        fits
    }
}

fn is_type(value: &Value, wanted: Type) -> bool {
    match wanted {
        Type::Null => value.is_null(),
        Type::Boolean => value.is_boolean(),
        Type::Integer => value.as_number().is_some_and(is_whole),
        Type::Number => value.is_number(),
        Type::String => value.is_string(),
        Type::Array => value.is_array(),
        Type::Object => value.is_object(),
    }
}

fn is_whole(number: &Number) -> bool {
    !number.is_f64() || number.as_f64().is_some_and(|float| float.fract() == 0.0)
}

fn wrong_type(types: &[Type]) -> String {
    let names = types.iter().filter_map(|one| TYPES.iter().find(|(_, known)| known == one));
    let names: Vec<&str> = names.map(|(name, _)| *name).collect();
    format!("is not of type {}", names.join(" or "))
}

/// As JSON Schema compares: 1 and 1.0 are the same, and so are objects whatever their order.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => one == other,
    }
}

fn name_of(format: Format) -> &'static str {
    FORMATS.iter().find(|(_, known)| *known == format).map_or("", |(name, _)| name)
}

fn has_format(text: &str, format: Format) -> bool {
    use time::format_description::well_known::Rfc3339;
    match format {
        Format::DateTime => time::OffsetDateTime::parse(text, &Rfc3339).is_ok(),
        Format::Date => {
            text.len() == 10
                && time::OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339).is_ok()
        }
        Format::Email => is_email(text),
        Format::Uri => url::Url::parse(text).is_ok(),
        Format::Uuid => is_uuid(text),
        Format::Ipv4 => text.parse::<std::net::Ipv4Addr>().is_ok(),
        Format::Ipv6 => text.parse::<std::net::Ipv6Addr>().is_ok(),
    }
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let in_local = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-.".contains(&b);
    let dotted =
        |part: &str| !part.starts_with('.') && !part.ends_with('.') && !part.contains("..");
    let in_domain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    !local.is_empty()
        && !domain.is_empty()
        && local.bytes().all(in_local)
        && domain.bytes().all(in_domain)
        && dotted(local)
        && dotted(domain)
}

fn is_uuid(text: &str) -> bool {
    let dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let digit = |(at, b): (usize, u8)| if dash(at) { b == b'-' } else { b.is_ascii_hexdigit() };
    text.len() == 36 && text.bytes().enumerate().all(digit)
}
