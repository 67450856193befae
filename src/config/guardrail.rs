//! Guardrails, compiled: what is checked of a request before it goes to a target and of its answer before it goes to
//! the client, what is rewritten on the way, and what follows from it.

use std::{fmt, sync::Arc, time::Duration};

use regex::Regex;

use super::{Origin, json_schema::Schema};
use crate::base::secret::Secret;

/// The guardrails of one target, those of its ancestors included.
#[derive(Clone, Debug, Default)]
pub struct Guardrails {
    /// Of requests, in order.
    pub input: Vec<Arc<Guardrail>>,
    /// Of answers, in order.
    pub output: Vec<Arc<Guardrail>>,
}

impl Guardrails {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.input.is_empty() && self.output.is_empty()
    }
}

/// One guardrail: checks that stand and fall together.
#[derive(Clone, Debug)]
pub struct Guardrail {
    /// Its name in results and in the log.
    pub id: String,
    /// Whether it can fail: a mutator only rewrites.
    pub kind: GuardrailKind,
    /// Whether its failing is a refusal.
    pub deny: bool,
    /// `async`: nobody waits for it, and nothing follows from it but a line in the record.
    pub background: bool,
    /// One check after another, each seeing what those before it rewrote.
    pub sequential: bool,
    /// Of answers that come as a stream: when it is judged.
    pub stream: OnStream,
    /// What its results say if it holds.
    pub on_success: Option<Feedback>,
    /// What its results say if it fails.
    pub on_fail: Option<Feedback>,
    /// All must hold.
    pub checks: Vec<Check>,
    /// As it was written, as JSON, without what may be secret.
    pub written: String,
}

impl Guardrail {
    /// Whether a check of it calls another host.
    #[must_use]
    pub fn calls(&self) -> bool {
        self.checks.iter().any(|check| check.test.is_call())
    }
}

/// What a guardrail is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardrailKind {
    /// Judges, and may rewrite.
    Guardrail,
    /// Rewrites.
    Mutator,
}

impl GuardrailKind {
    /// The word in configs and results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            GuardrailKind::Guardrail => "guardrail",
            GuardrailKind::Mutator => "mutator",
        }
    }
}

/// When the answer's stream is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnStream {
    /// At its end; it passes meanwhile.
    End,
    /// As it goes: only the last of its text is held back.
    Window,
    /// All of it is held back, up to a bound; beyond that, as it goes.
    Hold,
}

/// `on_success.feedback` and `on_fail.feedback`, handed on as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// `value`, as JSON.
    pub value: Option<String>,
    /// `weight`, as JSON.
    pub weight: Option<String>,
    /// `metadata`: members as name and JSON.
    pub metadata: Vec<(String, String)>,
}

/// One check.
#[derive(Clone, Debug)]
pub struct Check {
    /// As it was written: `default.contains`.
    pub id: String,
    /// Whether a check that could not be made counts as failed.
    pub fail_on_error: bool,
    /// What is checked.
    pub test: Test,
    /// The opposite must hold.
    pub not: bool,
}

/// What a check looks at.
#[derive(Clone, Debug)]
pub enum Test {
    /// `regexMatch`: found anywhere in the text.
    Regex {
        /// As written.
        rule: String,
        /// Compiled.
        regex: Regex,
    },
    /// `contains`.
    Contains(Vec<String>, Operator),
    /// `sentenceCount`, `wordCount`, `characterCount`.
    Count {
        /// What is counted.
        unit: Unit,
        /// At least so many.
        least: u64,
        /// At most so many.
        most: u64,
    },
    /// `jsonSchema`: of a JSON value in the text.
    Schema(Box<Schema>),
    /// `jsonKeys`: of a JSON object in the text.
    JsonKeys(Vec<String>, Operator),
    /// `containsCode`: a fenced block in this language.
    Code(String),
    /// `alluppercase`.
    Uppercase,
    /// `alllowercase`.
    Lowercase,
    /// `endsWith`.
    EndsWith(String),
    /// `notNull`.
    NotNull,
    /// `modelwhitelist` and `modelRules`.
    Models {
        /// Where no rule applies.
        models: Vec<String>,
        /// Models by the value of a metadata key.
        rules: Vec<ModelRule>,
    },
    /// `allowedRequestTypes`.
    RequestTypes {
        /// These alone; empty: any.
        allowed: Vec<String>,
        /// Not these.
        blocked: Vec<String>,
    },
    /// `requiredMetadataKeys`.
    MetadataKeys(Vec<String>, Operator),
    /// `addPrefix`.
    AddPrefix(Prefix),
    /// `regexReplace` and `redactPii`.
    Redact {
        /// What is replaced by what.
        patterns: Vec<Redaction>,
        /// Whether finding any is a failure.
        fail_on_detection: bool,
    },
    /// `validUrls`: each URL of the text leads somewhere.
    ValidUrls {
        /// Whether it is enough that the host has an address.
        only_dns: bool,
    },
    /// `webhook` and `log`.
    Call(Box<Callee>),
}

impl Test {
    /// Whether it calls another host.
    #[must_use]
    pub fn is_call(&self) -> bool {
        matches!(self, Test::Call(_) | Test::ValidUrls { .. })
    }

    /// Whether it rewrites text.
    #[must_use]
    pub fn redacts(&self) -> bool {
        matches!(self, Test::Redact { .. })
    }
}

/// How many of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// At least one.
    Any,
    /// Every one.
    All,
    /// Not one.
    None,
}

impl Operator {
    /// The word in configs and results.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Operator::Any => "any",
            Operator::All => "all",
            Operator::None => "none",
        }
    }

    /// Whether it holds of so many found and so many missing.
    #[must_use]
    pub fn holds(self, found: usize, missing: usize) -> bool {
        match self {
            Operator::Any => found > 0,
            Operator::All => missing == 0,
            Operator::None => found == 0,
        }
    }
}

/// What a count counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// What ends in `.`, `!` or `?`.
    Sentences,
    /// What stands between blanks.
    Words,
    /// UTF-16 units, as JavaScript counts.
    Characters,
}

/// The models for whoever has one of these values under a metadata key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRule {
    /// The key.
    pub key: String,
    /// Its values.
    pub values: Vec<String>,
    /// The models.
    pub models: Vec<String>,
}

/// What `addPrefix` puts where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The text.
    pub text: String,
    /// The role of the message that gets it.
    pub role: String,
    /// Whether it goes into a message that is there; else it becomes one of its own before it.
    pub to_existing: bool,
    /// Whether a message of that role keeps it out.
    pub only_if_empty: bool,
}

/// What is replaced.
#[derive(Clone, Debug)]
pub struct Redaction {
    /// Its name in results.
    pub name: String,
    /// What is found.
    pub regex: Regex,
    /// What stands there instead, literally.
    pub by: String,
    /// What a find must be besides.
    pub proof: Proof,
}

/// What a find must be besides, to tell a card number from any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    None,
    /// Digits whose check digit is right (Luhn).
    Luhn,
    /// An IP address.
    Address,
    /// Letters and digits whose check number is right.
    Iban,
}

impl Redaction {
    /// One whose finds are what they look like.
    #[must_use]
    pub fn plain(name: &str, regex: Regex, by: String) -> Redaction {
        Redaction { name: name.to_owned(), regex, by, proof: Proof::None }
    }
}

/// A host that is called.
#[derive(Clone)]
pub struct Callee {
    /// Whether its answer is a verdict; else it is only told.
    pub judges: bool,
    /// Where it is.
    pub origin: Origin,
    /// Path and query, as they were written.
    pub target: String,
    /// Sent along. Values may be credentials.
    pub headers: Vec<(String, Secret)>,
    /// How long it may take.
    pub timeout: Duration,
    /// It came with a request: every address must pass the rules for custom hosts.
    pub guarded: bool,
}

impl fmt::Debug for Callee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Callee")
            .field("judges", &self.judges)
            .field("origin", &self.origin)
            .field("headers", &headers)
            .field("timeout", &self.timeout)
            .field("guarded", &self.guarded)
            .finish_non_exhaustive()
    }
}

/// The languages that `containsCode` knows, by what stands behind the fence.
pub const LANGUAGES: [(&str, &str); 25] = [
    ("sql", "SQL"),
    ("py", "Python"),
    ("ts", "TypeScript"),
    ("js", "JavaScript"),
    ("java", "Java"),
    ("cs", "C#"),
    ("cpp", "C++"),
    ("c", "C"),
    ("rb", "Ruby"),
    ("php", "PHP"),
    ("swift", "Swift"),
    ("kt", "Kotlin"),
    ("go", "Go"),
    ("rs", "Rust"),
    ("scala", "Scala"),
    ("r", "R"),
    ("pl", "Perl"),
    ("sh", "Shell"),
    ("html", "HTML"),
    ("css", "CSS"),
    ("xml", "XML"),
    ("json", "JSON"),
    ("yml", "YAML"),
    ("md", "Markdown"),
    ("dockerfile", "Dockerfile"),
];

/// The words of `allowedRequestTypes`, which are Portkey's.
pub const REQUEST_TYPES: [&str; 5] =
    ["chatComplete", "complete", "embed", "messages", "createModelResponse"];
