//! Parameters that a config sets, sets where there are none, and takes out.

use crate::{
    base::limits,
    config::{
        policy::DropPath,
        report::{Spot, wrong},
    },
    wire::json::PathStep,
};

use super::{handed::Handed, leaf::virtual_key_of_model, node::Compiler};

impl Compiler<'_, '_> {
    /// `override_params`, merged into the parent's key by key.
    pub fn override_params(&mut self, spot: &Spot<'_>, handed: &mut Handed) {
        if !self.is_params(spot) {
            return;
        }
        for entry in spot.entries() {
            let mut value = entry.tree.to_json();
            if entry.name() == "model"
                && let Some((key, model)) = virtual_key_of_model(&entry, self.known)
            {
                handed.model_key = Some(key.to_owned());
                value = serde_json::Value::String(model.to_owned());
            } else if entry.name() == "model" {
                handed.model_key = None;
            }
            set(&mut handed.override_params, entry.name(), value.to_string());
        }
    }

    /// `default_params`, merged into the parent's key by key.
    pub fn default_params(&mut self, spot: &Spot<'_>, handed: &mut Handed) {
        if !self.is_params(spot) {
            return;
        }
        for entry in spot.entries() {
            set(&mut handed.default_params, entry.name(), entry.tree.to_json().to_string());
        }
    }

    /// `drop_params`, added to the parent's.
    pub fn drop_params(&mut self, spot: &Spot<'_>, handed: &mut Handed) {
        const WHAT: &str = "a path into the body, at most 8 steps; write e.g. messages[*].name";
        if !self.is_list(spot, "a list of paths; write e.g. [seed, \"messages[*].name\"]") {
            return;
        }
        for item in spot.items() {
            let Some(text) = self.string(&item, WHAT) else { continue };
            match drop_path(text) {
                Some(path) if handed.drop_params.contains(&path) => {}
                Some(_) if handed.drop_params.len() >= limits::DROP_PARAMS_MAX => {
                    let most = limits::DROP_PARAMS_MAX;
                    self.report.mistake(&item, format!("a target has at most {most} drop_params"));
                    return;
                }
                Some(path) => handed.drop_params.push(path),
                None => self.report.both(&item, "Invalid path", wrong(WHAT, &item.tree.shown())),
            }
        }
    }

    fn is_params(&mut self, spot: &Spot<'_>) -> bool {
        let fine = self.is_map(spot);
        if fine && !self.inline {
            self.report.map(spot);
        }
        fine
    }
}

fn set(params: &mut Vec<(String, String)>, name: &str, raw: String) {
    match params.iter_mut().find(|(known, _)| known == name) {
        Some((_, slot)) => *slot = raw,
        None => params.push((name.to_owned(), raw)),
    }
}

/// `field`, then any of `.key`, `[3]`, `[*]` and `["key"]`.
fn drop_path(text: &str) -> Option<DropPath> {
    let (field, mut left) = split_key(text)?;
    let mut rest = Vec::new();
    while !left.is_empty() {
        let (step, behind) = match left.strip_prefix('.') {
            Some(key) => split_key(key).map(|(key, left)| (PathStep::Key(key), left))?,
            None => bracketed(left)?,
        };
        rest.push(step);
        left = behind;
    }
    (rest.len() < limits::DROP_PATH_STEPS_MAX).then_some(DropPath { field, rest })
}

fn split_key(text: &str) -> Option<(String, &str)> {
    let end = text.find(['.', '[', ']']).unwrap_or(text.len());
    let (key, left) = text.split_at_checked(end)?;
    (!key.is_empty()).then(|| (key.to_owned(), left))
}

fn bracketed(text: &str) -> Option<(PathStep, &str)> {
    let inner = text.strip_prefix('[')?;
    for quote in ['"', '\''] {
        if let Some(quoted) = inner.strip_prefix(quote) {
            let (key, left) = quoted.split_once(&format!("{quote}]"))?;
            return Some((PathStep::Key(key.to_owned()), left));
        }
    }
    let (index, left) = inner.split_once(']')?;
    match index {
        "*" => Some((PathStep::Every, left)),
        _ if index.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((PathStep::Index(index.parse().ok()?), left))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_shown() {
        for text in ["seed", "metadata.user", "messages[*].name", "a[3][*].b.c", "x-y.z w"] {
            let path = drop_path(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(path.to_string(), text);
        }
        let quoted = drop_path("a[\"b.c\"]['d']").expect("a path");
        assert_eq!(quoted.rest, [PathStep::Key("b.c".into()), PathStep::Key("d".into())]);
        for text in ["", ".a", "a.", "a[", "a[]", "a[x]", "a[-1]", "a[1", "a]", "[*]", "a..b"] {
            assert_eq!(drop_path(text), None, "{text}");
        }
        assert!(drop_path(&format!("a{}", ".b".repeat(7))).is_some());
        assert!(drop_path(&format!("a{}", ".b".repeat(8))).is_none());
    }
}
