//! All providers by name, with the other spellings that users bring along.

use std::{collections::HashMap, sync::LazyLock};

use super::{
    Adapter, anthropic,
    compatible::{ALIASES, HOSTS},
};
use crate::base::limits::PROVIDER_NAME_BYTES_MAX;

/// The provider of this name or alias. Case, and `_` for `-`, make no difference.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static dyn Adapter> {
    if name.len() > PROVIDER_NAME_BYTES_MAX {
        return None;
    }
    BY_NAME.get(&*folded(name)).copied()
}

/// The names of all providers, aliases left out.
pub fn names() -> impl Iterator<Item = &'static str> {
    adapters().map(|adapter| adapter.name())
}

fn adapters() -> impl Iterator<Item = &'static dyn Adapter> {
    let hosts = HOSTS.iter().map(|host| host as &'static dyn Adapter);
    hosts.chain([&anthropic::ANTHROPIC as &'static dyn Adapter])
}

fn folded(name: &str) -> String {
    name.replace('_', "-").to_ascii_lowercase()
}

static BY_NAME: LazyLock<HashMap<String, &'static dyn Adapter>> = LazyLock::new(|| {
    let mut by_name: HashMap<String, &'static dyn Adapter> =
        adapters().map(|adapter| (folded(adapter.name()), adapter)).collect();
    for (alias, name) in ALIASES {
        if let Some(adapter) = by_name.get(&*folded(name)).copied() {
            by_name.entry(folded(alias)).or_insert(adapter);
        }
    }
    by_name
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_however_they_are_written() {
        for (written, name) in [
            ("openai", "openai"),
            ("anthropic", "anthropic"),
            ("together_ai", "together-ai"),
            ("LM-Studio", "lm_studio"),
            ("xai", "x-ai"),
        ] {
            assert_eq!(by_name(written).map(Adapter::name), Some(name), "{written}");
        }
        for unknown in ["", "nobody", &"a".repeat(100_000)] {
            assert!(by_name(unknown).is_none());
        }
        assert!(names().all(|name| by_name(name).map(Adapter::name) == Some(name)));
    }
}
