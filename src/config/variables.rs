//! `${NAME}`, `${NAME:-default}` and `$$` inside the text values of a file, replaced after parsing, so that no
//! value of a variable can change the structure.

use super::{
    report::{Report, Spot},
    tree::{Tree, Value},
};

/// Where variables come from.
#[derive(Clone, Copy)]
pub enum Variables<'a> {
    /// They are asked for by name.
    Lookup(&'a dyn Fn(&str) -> Option<String>),
    /// They are not looked up: a value that names one may be anything.
    Unknown,
}

/// Replaces the variables of every text value below `tree`. A value with a missing or misspelt variable becomes
/// unknown, so that nothing but [`report_missing`] complains of it.
pub fn replace(tree: &mut Tree, variables: Variables<'_>) {
    match &mut tree.value {
        Value::List(items) => items.iter_mut().for_each(|item| replace(item, variables)),
        Value::Map(entries) => entries.iter_mut().for_each(|e| replace(&mut e.tree, variables)),
        Value::Text(text) if text.contains('$') => match expand(text, variables) {
            Ok(replaced) => {
                tree.unknown = replaced.unknown;
                let new = if replaced.unknown { text.clone() } else { replaced.text };
                tree.written = Some(std::mem::replace(text, new));
            }
            Err(_) => tree.unknown = true,
        },
        Value::Text(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Notes every variable that [`replace`] found missing or misspelt.
pub fn report_missing(spot: &Spot<'_>, variables: Variables<'_>, report: &mut Report) {
    if let (Value::Text(text), true, None) =
        (&spot.tree.value, spot.tree.unknown, &spot.tree.written)
        && let Err(message) = expand(text, variables)
    {
        report.about_value(spot, message);
    }
    if let Some(written) = &spot.tree.written
        && is_bare(written)
    {
        let text =
            "is taken as it stands, with its dollar: write ${NAME} for a variable, $$ for a dollar";
        report.warning(spot, text);
    }
    spot.items().for_each(|item| report_missing(&item, variables, report));
    spot.entries().for_each(|entry| report_missing(&entry, variables, report));
}

/// Whether a whole value is a variable as a shell would write it.
fn is_bare(text: &str) -> bool {
    let name = text.strip_prefix('$').unwrap_or_default();
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

struct Replaced {
    text: String,
    unknown: bool,
}

fn expand(text: &str, variables: Variables<'_>) -> Result<Replaced, String> {
    let mut out = Replaced { text: String::with_capacity(text.len()), unknown: false };
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.text.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.text.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let Some(end) = after.find('}') else {
                return Err("`${` without `}`; write $$ for a dollar".into());
            };
            one(&after[..end], variables, &mut out)?;
            rest = &after[end + 1..];
        } else {
            out.text.push('$');
        }
    }
    out.text.push_str(rest);
    Ok(out)
}

fn one(inside: &str, variables: Variables<'_>, out: &mut Replaced) -> Result<(), String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || name.as_bytes()[0].is_ascii_digit() || !name.bytes().all(letter) {
        return Err(
            "`${…}` does not name a variable; write ${NAME} or ${NAME:-default}, $$ for a dollar"
                .into(),
        );
    }
    let Variables::Lookup(lookup) = variables else {
        out.unknown = true;
        return Ok(());
    };
    match (lookup(name), default) {
        (Some(value), None) => out.text.push_str(&value),
        (Some(value), Some(_)) if !value.is_empty() => out.text.push_str(&value),
        (_, Some(default)) => out.text.push_str(default),
        (None, None) => {
            return Err(format!(
                "the variable {name} is not set; set it, or write ${{{name}:-default}}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "KEY" => Some("sk-1".into()),
            "EMPTY" => Some(String::new()),
            "TRICKY" => Some("${KEY} $$".into()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, expected) in [
            ("${KEY}", Some("sk-1")),
            ("a${KEY}b${KEY}c", Some("ask-1bsk-1c")),
            ("${NONE:-x:-y}", Some("x:-y")),
            ("${EMPTY:-x}", Some("x")),
            ("${EMPTY}", Some("")),
            ("$${KEY}", Some("${KEY}")),
            ("5$ and $x", Some("5$ and $x")),
            ("$$$$", Some("$$")),
            ("${TRICKY}", Some("${KEY} $$")),
            ("${NONE}", None),
            ("${", None),
            ("${}", None),
            ("${1A}", None),
            ("${A B}", None),
        ] {
            let found = expand(text, Variables::Lookup(&lookup)).ok().map(|r| r.text);
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        assert!(expand("x${ANY}", Variables::Unknown).ok().is_some_and(|r| r.unknown));
        assert!(expand("x$$", Variables::Unknown).ok().is_some_and(|r| !r.unknown));
    }

    #[test]
    fn a_variable_as_a_shell_writes_it_is_suspicious_and_other_dollars_are_not() {
        for (text, bare) in [
            ("$OPENAI_API_KEY", true),
            ("$KEY_2", true),
            ("$$KEY", false),
            ("${KEY}", false),
            ("^gold$", false),
            ("$1", false),
            ("$", false),
            ("$key", false),
            ("cost: $KEY", false),
        ] {
            assert_eq!(is_bare(text), bare, "{text}");
        }
    }
}
