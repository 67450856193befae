//! Where the checker stands in the tree, and the mistakes that it collects on its way: a mistake never ends the
//! check, so that all are told at once.

use std::fmt;

use crate::base::limits;

use super::{
    nearest::nearest,
    tree::{Place, Tree, Value, read_yaml},
};

/// One thing wrong with a configuration, or (as a warning) without effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Line, from 1; 0 if the whole file is meant.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// The field, e.g. `configs.support.targets[1].weight`; empty for the whole file.
    pub path: String,
    /// What is wrong and what to write instead. Never holds a secret.
    pub message: String,
}

impl Mistake {
    /// The same, found after the check, with its line in the file that was checked.
    #[must_use]
    pub fn placed_in(mut self, text: &str) -> Mistake {
        if let Ok(tree) = read_yaml(text) {
            let place = Spot::root(&tree).place_of(&self.path);
            (self.line, self.column) = place.map_or((0, 0), |place| (place.line, place.column));
        }
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// One step of a path.
#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

/// A place in the tree and the way to it.
#[derive(Clone, Copy)]
pub struct Spot<'a> {
    /// What stands there.
    pub tree: &'a Tree,
    up: Option<&'a Spot<'a>>,
    step: Step<'a>,
    /// Where the key stands, if this is a map's value.
    key_place: Place,
}

impl<'a> Spot<'a> {
    /// The whole of a tree.
    #[must_use]
    pub fn root(tree: &'a Tree) -> Spot<'a> {
        Spot { tree, up: None, step: Step::Root, key_place: tree.place }
    }

    /// The value of a key, the last one if it is repeated; absent if it is null or this is no map.
    #[must_use]
    pub fn get(&'a self, key: &str) -> Option<Spot<'a>> {
        let found = self.entries().filter(|entry| entry.name() == key).last()?;
        (!matches!(found.tree.value, Value::Null)).then_some(found)
    }

    /// The value of a key, null included.
    #[must_use]
    pub fn get_or_null(&'a self, key: &str) -> Option<Spot<'a>> {
        self.entries().filter(|entry| entry.name() == key).last()
    }

    /// Where the value of this path of keys stands. Names may have dots.
    fn place_of(&self, path: &str) -> Option<Place> {
        if path.is_empty() {
            return Some(self.tree.place);
        }
        self.entries().find_map(|entry| {
            let rest = path.strip_prefix(entry.name())?;
            entry.place_of(rest.strip_prefix('.').or(rest.is_empty().then_some(""))?)
        })
    }

    /// All entries of a map, in order; none if this is no map.
    pub fn entries(&'a self) -> impl Iterator<Item = Spot<'a>> {
        let entries = match &self.tree.value {
            Value::Map(entries) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(move |entry| Spot {
            tree: &entry.tree,
            up: Some(self),
            step: Step::Key(&entry.key),
            key_place: entry.place,
        })
    }

    /// All items of a list, in order; none if this is no list.
    pub fn items(&'a self) -> impl Iterator<Item = Spot<'a>> {
        let items = match &self.tree.value {
            Value::List(items) => items.as_slice(),
            _ => &[],
        };
        items.iter().enumerate().map(move |(index, tree)| Spot {
            tree,
            up: Some(self),
            step: Step::Index(index),
            key_place: tree.place,
        })
    }

    /// The key that leads here; empty for the root and for items of lists.
    #[must_use]
    pub fn name(&self) -> &'a str {
        match self.step {
            Step::Key(key) => key,
            Step::Root | Step::Index(_) => "",
        }
    }

    /// The way here in the file's words: `configs.support.targets[1]`.
    #[must_use]
    pub fn path(&self) -> String {
        let mut path = self.up.map(Spot::path).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&shown_key(key));
            }
            Step::Index(index) => path.push_str(&format!("[{index}]")),
        }
        path
    }

    /// The way here in the words of a config header's errors: `targets,0,weight`.
    #[must_use]
    pub fn wire_path(&self) -> String {
        let mut path = self.up.map(Spot::wire_path).unwrap_or_default();
        let step = match self.step {
            Step::Root => return path,
            Step::Key(key) => shown_key(key),
            Step::Index(index) => index.to_string(),
        };
        if !path.is_empty() {
            path.push(',');
        }
        path.push_str(&step);
        path
    }
}

/// A key in a path: bounded, and without control characters.
fn shown_key(key: &str) -> String {
    key.chars().take(limits::SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect()
}

/// What was found so far.
#[derive(Default)]
pub struct Report {
    /// What must be put right.
    pub mistakes: Vec<Mistake>,
    /// What has no effect.
    pub warnings: Vec<Mistake>,
    /// The mistakes in the words of a config header's errors.
    pub wire: Vec<String>,
}

impl Report {
    /// Notes a mistake. Where a variable that was not looked up stands, anything may be right.
    pub fn mistake(&mut self, spot: &Spot<'_>, message: impl Into<String>) {
        let message = message.into();
        self.both(spot, &message.clone(), message);
    }

    /// Notes a mistake that a config header's errors name in other words.
    pub fn both(&mut self, spot: &Spot<'_>, wire: &str, message: String) {
        if spot.tree.unknown || self.mistakes.len() >= limits::MISTAKES_MAX {
            return;
        }
        self.wire.push(format!("path: {}, message: {wire}", spot.wire_path()));
        self.mistakes.push(at(spot.tree.place, spot.path(), message));
    }

    /// Notes a mistake about a key itself rather than its value.
    pub fn about_key(&mut self, spot: &Spot<'_>, message: impl Into<String>) {
        let message = message.into();
        if self.mistakes.len() < limits::MISTAKES_MAX {
            self.wire.push(format!("path: {}, message: {message}", spot.wire_path()));
            self.mistakes.push(at(spot.key_place, spot.path(), message));
        }
    }

    /// Notes a mistake about a value even where variables make it unknown.
    pub fn about_value(&mut self, spot: &Spot<'_>, message: String) {
        if self.mistakes.len() < limits::MISTAKES_MAX {
            self.mistakes.push(at(spot.tree.place, spot.path(), message));
        }
    }

    /// Notes a mistake about something that is missing: it is placed at what should hold it.
    pub fn missing(&mut self, spot: &Spot<'_>, key: &str, what: &str) {
        let path = format!("{}.{key}", spot.path());
        if !spot.tree.unknown && self.mistakes.len() < limits::MISTAKES_MAX {
            let comma = if spot.wire_path().is_empty() { "" } else { "," };
            self.wire.push(format!("path: {}{comma}{key}, message: Required", spot.wire_path()));
            let path = path.trim_start_matches('.').to_owned();
            self.mistakes.push(at(spot.tree.place, path, format!("missing; {what}")));
        }
    }

    /// Notes something that has no effect.
    pub fn warning(&mut self, spot: &Spot<'_>, message: impl Into<String>) {
        if self.warnings.len() < limits::MISTAKES_MAX {
            self.warnings.push(at(spot.key_place, spot.path(), message.into()));
        }
    }

    /// Checks that a value is a map whose keys are all known and not repeated. `later` are keys that exist but
    /// that this version does not implement: they may stand there if they ask for nothing.
    pub fn keys(&mut self, spot: &Spot<'_>, known: &[&str], later: &[&str]) -> bool {
        if !self.map(spot) {
            return false;
        }
        for entry in spot.entries() {
            let name = entry.name();
            if known.contains(&name) {
            } else if later.contains(&name) {
                self.not_yet(&entry);
            } else {
                let hint = did_you_mean(name, known.iter().copied());
                self.about_key(&entry, format!("there is no such key{hint}"));
            }
        }
        true
    }

    /// Checks that a value is a map without repeated keys.
    pub fn map(&mut self, spot: &Spot<'_>) -> bool {
        let Value::Map(entries) = &spot.tree.value else {
            self.expected(spot, &a_map(spot));
            return false;
        };
        let mut seen = std::collections::HashSet::with_capacity(entries.len());
        for entry in spot.entries() {
            if !seen.insert(entry.name()) {
                self.about_key(&entry, "stands here twice; keep one of them");
            }
        }
        true
    }

    /// A key that exists but that this version does not implement: fine only if it asks for nothing.
    pub fn not_yet(&mut self, entry: &Spot<'_>) {
        if !entry.tree.is_empty() {
            self.about_key(entry, NOT_YET);
        }
    }

    /// Notes that something else was expected, e.g. `a number of 0 or more; write e.g. 0.5`.
    pub fn expected(&mut self, spot: &Spot<'_>, what: &str) {
        let message = wrong(what, &spot.tree.shown());
        self.both(spot, &message.clone(), message);
    }

    /// The same where what stands there may be a secret.
    pub fn expected_secret(&mut self, spot: &Spot<'_>, what: &str) {
        let message = wrong(what, spot.tree.kind());
        self.both(spot, &message.clone(), message);
    }
}

/// What a key earns that a later version will implement.
pub const NOT_YET: &str = "not in this version of Trunkline; remove it";

/// `expected A, found B; write e.g. C`.
#[must_use]
pub fn wrong(what: &str, found: &str) -> String {
    match what.split_once("; ") {
        Some((kind, advice)) => format!("expected {kind}, found {found}; {advice}"),
        None => format!("expected {what}, found {found}"),
    }
}

/// `a map`, with an example where one of its kind helps.
#[must_use]
pub fn a_map(spot: &Spot<'_>) -> String {
    let of = |known: &[(&str, &'static str)], name: &str| {
        known.iter().find(|(of, _)| *of == name).map(|(_, example)| *example)
    };
    let within = spot.up.map_or("", Spot::name);
    match of(MAPS, spot.name()).or_else(|| of(ENTRIES, within)) {
        Some(example) => format!("a map; write e.g. {example}"),
        None => "a map".to_owned(),
    }
}

/// Keys whose value is a map, and an example of it.
const MAPS: &[(&str, &str)] = &[
    ("virtual_keys", "{ openai: { provider: openai, api_key: \"${OPENAI_API_KEY}\" } }"),
    ("configs", "{ main: { virtual_key: openai } }"),
    ("strategy", "{ mode: fallback }"),
    ("retry", "{ attempts: 2 }"),
    ("override_params", "{ model: gpt-4o-mini }"),
    ("timeouts", "{ first_byte: 60s }"),
    ("limits", "{ body: 32MiB }"),
    ("retention", "{ days: 30, size: 20GiB }"),
    ("tls", "{ cert: server.pem, key: server.key }"),
    ("cors", "{ origins: [\"https://app.example.com\"] }"),
    ("hedge", "{ after: 800ms }"),
    ("allow", "{ models: [\"gpt-*\"] }"),
];

/// The same of what stands in a list or a map of such a key.
const ENTRIES: &[(&str, &str)] = &[
    ("virtual_keys", "{ provider: openai, api_key: \"${OPENAI_API_KEY}\" }"),
    ("configs", "{ virtual_key: NAME }"),
    ("targets", "{ virtual_key: NAME }"),
    ("api_keys", "{ name: app, key_sha256: HASH } as `trunkline key new` prints it"),
];

/// `; did you mean "x"?`, or nothing if nothing is near.
pub fn did_you_mean<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    nearest(name, known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default()
}

fn at(place: Place, path: String, message: String) -> Mistake {
    Mistake { line: place.line, column: place.column, path, message }
}
