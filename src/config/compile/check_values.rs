//! Reads the parameters of checks.

use crate::{
    base::limits,
    config::{
        guardrail::{LANGUAGES, ModelRule, Operator, Prefix, REQUEST_TYPES, Redaction, Test, Unit},
        pattern::{self, PatternError},
        report::{Spot, did_you_mean, wrong},
        tree::Value,
    },
};

use super::{node::Compiler, redactions};

impl Compiler<'_, '_> {
    pub(super) fn fail_on_detection(&mut self, spot: &Spot<'_>) -> bool {
        self.flag(spot, "failOnDetection").unwrap_or(false)
    }

    pub(super) fn redact_text(&mut self, spot: &Spot<'_>) -> Option<String> {
        let found = self.field(spot, "redactText")?;
        self.string(&found, "text").map(str::to_owned)
    }

    pub(super) fn rule(&mut self, spot: &Spot<'_>) -> Option<(String, regex::Regex)> {
        let Some(found) = self.field(spot, "rule") else {
            self.required(spot, "rule", "write a regular expression, e.g. rule: \"^[A-Z]\"");
            return None;
        };
        let what = "a regular expression in quotes; write e.g. \"^[A-Z]\"";
        let rule = self.string(&found, what)?.to_owned();
        if rule.is_empty() {
            self.report.mistake(&found, "is empty; write e.g. \"^[A-Z]\"");
            return None;
        }
        let regex = self.regex(&found, &rule)?;
        Some((rule, regex))
    }

    /// Compiles a regular expression, of which a request may bring only so many.
    pub fn regex(&mut self, spot: &Spot<'_>, rule: &str) -> Option<regex::Regex> {
        self.patterns += 1;
        let most = limits::INLINE_REGEXES_MAX;
        if self.inline && self.patterns > most {
            let text = format!("a config of a request has at most {most} regular expressions");
            self.report.mistake(spot, text);
            return None;
        }
        let bytes_max = match self.inline {
            true => limits::INLINE_REGEX_BYTES_MAX,
            false => limits::GUARDRAIL_REGEX_BYTES_MAX,
        };
        match pattern::compile(rule, bytes_max) {
            Ok(regex) => Some(regex),
            Err(error) => {
                self.no_pattern(spot, &error);
                None
            }
        }
    }

    /// Why a text is no regular expression.
    pub(super) fn no_pattern(&mut self, spot: &Spot<'_>, error: &PatternError) {
        let text = match error {
            PatternError::Invalid(why) => format!("this is no regular expression: {why}"),
            PatternError::Unsupported(what) => format!(
                "this regular expression needs {what}, which is not supported: every match takes \
                 linear time"
            ),
        };
        self.report.mistake(spot, text);
    }

    /// A list of texts under a key that must be there.
    pub(super) fn words(&mut self, spot: &Spot<'_>, key: &str) -> Option<Vec<String>> {
        let Some(found) = self.field(spot, key) else {
            self.required(spot, key, &format!("write e.g. {key}: [one, two]"));
            return None;
        };
        let words = self.texts(&found)?;
        if words.is_empty() {
            self.report.mistake(&found, format!("is empty; write e.g. {key}: [one, two]"));
            return None;
        }
        Some(words)
    }

    fn texts(&mut self, spot: &Spot<'_>) -> Option<Vec<String>> {
        if !self.is_list(spot, "a list of texts; write e.g. [one, two]") {
            return None;
        }
        let mut texts = Vec::new();
        for item in spot.items() {
            if texts.len() >= limits::GUARDRAIL_WORDS_MAX {
                let most = limits::GUARDRAIL_WORDS_MAX;
                self.report.mistake(&item, format!("a check takes at most {most} of these"));
                return None;
            }
            texts.push(self.string(&item, "text; put it in quotes")?.to_owned());
        }
        Some(texts)
    }

    pub(super) fn operator(&mut self, spot: &Spot<'_>) -> Option<Operator> {
        const WHAT: &str = "any, all or none";
        let Some(found) = self.field(spot, "operator") else { return Some(Operator::Any) };
        match self.string(&found, WHAT)? {
            "any" => Some(Operator::Any),
            "all" => Some(Operator::All),
            "none" => Some(Operator::None),
            _ => {
                self.report.mistake(&found, wrong(WHAT, &found.tree.shown()));
                None
            }
        }
    }

    pub(super) fn text_count(
        &mut self,
        spot: &Spot<'_>,
        unit: Unit,
        [min, max]: [&str; 2],
        default_most: u64,
    ) -> Option<Test> {
        if self.field(spot, min).is_none() && self.field(spot, max).is_none() {
            self.required(spot, max, &format!("write e.g. {max}: 100"));
            return None;
        }
        let least = self.whole(spot, min, 0)?;
        let most = self.whole(spot, max, default_most)?;
        if least > most {
            let text = format!("{min} is above {max}: no text has so many");
            self.report.mistake(spot, text);
            return None;
        }
        Some(Test::Count { unit, least, most })
    }

    /// A whole number of 0 or more.
    pub fn whole(&mut self, spot: &Spot<'_>, key: &str, default: u64) -> Option<u64> {
        let Some(found) = self.field(spot, key) else { return Some(default) };
        let number = self.number(&found, "a whole number of 0 or more")?;
        let whole = number.as_u64();
        if whole.is_none() {
            self.report.expected(&found, "a whole number of 0 or more");
        }
        whole
    }

    pub(super) fn language(&mut self, spot: &Spot<'_>) -> Option<String> {
        let format = self.some_text(spot, "format", "write e.g. format: SQL")?;
        let known = LANGUAGES.iter().any(|(_, name)| *name == format);
        if !known {
            let found = self.field(spot, "format")?;
            let hint = did_you_mean(&format, LANGUAGES.iter().map(|(_, name)| *name));
            let text = format!("there is no language {}{hint}", found.tree.shown());
            self.report.mistake(&found, text);
        }
        known.then_some(format)
    }

    pub(super) fn some_text(&mut self, spot: &Spot<'_>, key: &str, advice: &str) -> Option<String> {
        let Some(found) = self.field(spot, key) else {
            self.required(spot, key, advice);
            return None;
        };
        let text = self.string(&found, &format!("text; {advice}"))?.to_owned();
        if text.is_empty() {
            self.report.mistake(&found, format!("is empty; {advice}"));
            return None;
        }
        Some(text)
    }

    pub(super) fn model_whitelist(&mut self, spot: &Spot<'_>) -> Option<Test> {
        let models = match self.field(spot, "models") {
            Some(found) => self.texts(&found)?,
            None => Vec::new(),
        };
        let mut rules = Vec::new();
        if let Some(found) = self.field(spot, "metadataRules") {
            let example = "[{ metadataKey: team, values: [a], models: [gpt-4o] }]";
            if !self.is_list(&found, &format!("a list of rules; write e.g. {example}")) {
                return None;
            }
            for item in found.items() {
                if !self.is_map(&item) {
                    return None;
                }
                self.report.keys(&item, &["metadataKey", "values", "models"], &[]);
                rules.push(ModelRule {
                    key: self.some_text(&item, "metadataKey", "write e.g. metadataKey: team")?,
                    values: self.words(&item, "values")?,
                    models: self.words(&item, "models")?,
                });
            }
        }
        self.models(spot, models, rules, "write e.g. models: [gpt-4o]")
    }

    /// `rules: {defaults: [..], metadata: {KEY: {VALUE: [..]}}}`.
    pub(super) fn model_rules(&mut self, spot: &Spot<'_>) -> Option<Test> {
        let advice =
            "write e.g. rules: { defaults: [gpt-4o-mini], metadata: { team: { a: [gpt-4o] } } }";
        let Some(found) = self.field(spot, "rules") else {
            self.required(spot, "rules", advice);
            return None;
        };
        if !self.is_map(&found) {
            return None;
        }
        self.report.keys(&found, &["defaults", "metadata"], &[]);
        let models = match self.field(&found, "defaults") {
            Some(defaults) => self.texts(&defaults)?,
            None => Vec::new(),
        };
        let mut rules = Vec::new();
        if let Some(metadata) = self.field(&found, "metadata") {
            if !self.is_map(&metadata) {
                return None;
            }
            for entry in metadata.entries() {
                if !self.is_map(&entry) {
                    return None;
                }
                for value in entry.entries() {
                    rules.push(ModelRule {
                        key: entry.name().to_owned(),
                        values: vec![value.name().to_owned()],
                        models: self.texts(&value)?,
                    });
                }
            }
        }
        self.models(&found, models, rules, advice)
    }

    fn models(
        &mut self,
        spot: &Spot<'_>,
        models: Vec<String>,
        rules: Vec<ModelRule>,
        advice: &str,
    ) -> Option<Test> {
        if rules.len() > limits::GUARDRAIL_WORDS_MAX {
            let most = limits::GUARDRAIL_WORDS_MAX;
            self.report.mistake(spot, format!("a check takes at most {most} rules"));
            return None;
        }
        if models.is_empty() && rules.is_empty() {
            self.report.mistake(spot, format!("names no model; {advice}"));
            return None;
        }
        Some(Test::Models { models, rules })
    }

    /// A list, or Portkey's text with commas.
    pub(super) fn request_types(&mut self, spot: &Spot<'_>, key: &str) -> Vec<String> {
        let Some(found) = self.field(spot, key) else { return Vec::new() };
        let types = match &found.tree.value {
            Value::Text(text) => text.split(',').map(|one| one.trim().to_owned()).collect(),
            _ => self.texts(&found).unwrap_or_default(),
        };
        for one in types.iter().filter(|one| !REQUEST_TYPES.contains(&one.as_str())) {
            let hint = did_you_mean(one, REQUEST_TYPES.into_iter());
            let known = REQUEST_TYPES.join(", ");
            let hint = if hint.is_empty() { format!("; there are {known}") } else { hint };
            self.report.mistake(&found, format!("there is no request type {one:?}{hint}"));
        }
        types
    }

    pub(super) fn prefix(&mut self, spot: &Spot<'_>) -> Option<Prefix> {
        let text = self.some_text(spot, "prefix", "write e.g. prefix: \"Answer briefly. \"")?;
        let role = match self.field(spot, "applyToRole") {
            Some(found) => self.string(&found, "a role; write e.g. system")?.to_owned(),
            None => "user".to_owned(),
        };
        Some(Prefix {
            text,
            role,
            to_existing: self.flag(spot, "addToExisting").unwrap_or(true),
            only_if_empty: self.flag(spot, "onlyIfEmpty").unwrap_or(false),
        })
    }

    pub(super) fn pii(&mut self, spot: &Spot<'_>) -> Option<Vec<Redaction>> {
        let by = self.redact_text(spot);
        let Some(found) = self.field(spot, "patterns") else {
            return Some(redactions::all(by.as_deref()));
        };
        let mut patterns = Vec::new();
        for (item, name) in found.items().zip(self.texts(&found)?) {
            match redactions::named(&name, by.as_deref()) {
                Some(redaction) => patterns.push(redaction),
                None => {
                    let known = redactions::NAMES;
                    let text = format!(
                        "there is no pattern {}; there are {}",
                        item.tree.shown(),
                        known.join(", ")
                    );
                    self.report.mistake(&item, text);
                }
            }
        }
        Some(patterns)
    }
}
