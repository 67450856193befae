//! Compiles single checks: their parameters, in Portkey's names.

use serde_json::Value as Json;

use crate::config::{
    guardrail::{Check, Redaction, Test, Unit},
    report::{Spot, did_you_mean},
    tree::{Value, shorten},
};

use super::{guardrails::Side, node::Compiler, redactions};

/// A check of this version: its name, what it is called in configs, and its parameters besides `not` and `failOnError`.
pub struct Known {
    /// Its name, lower case and without underscores.
    key: &'static str,
    /// As Portkey writes it.
    pub name: &'static str,
    parameters: &'static [&'static str],
    /// Whether `not` turns it round.
    turns: bool,
    input_only: bool,
    /// What it checks, for the schema of the file.
    pub what: &'static str,
}

const fn known(
    key: &'static str,
    name: &'static str,
    parameters: &'static [&'static str],
    turns: bool,
    what: &'static str,
) -> Known {
    Known { key, name, parameters, turns, input_only: false, what }
}

const fn input_only(
    key: &'static str,
    name: &'static str,
    parameters: &'static [&'static str],
    what: &'static str,
) -> Known {
    Known { key, name, parameters, turns: false, input_only: true, what }
}

/// All checks.
pub const CHECKS: &[Known] = &[
    known("regexmatch", "regexMatch", &["rule"], true, "rule: found anywhere in the text."),
    known(
        "contains",
        "contains",
        &["words", "operator"],
        false,
        "words, operator: any, all, none.",
    ),
    known(
        "sentencecount",
        "sentenceCount",
        &["minSentences", "maxSentences"],
        true,
        "minSentences (0), maxSentences (99999).",
    ),
    known(
        "wordcount",
        "wordCount",
        &["minWords", "maxWords"],
        true,
        "minWords (0), maxWords (99999).",
    ),
    known(
        "charactercount",
        "characterCount",
        &["minCharacters", "maxCharacters"],
        true,
        "minCharacters (0), maxCharacters (9999999).",
    ),
    known("jsonschema", "jsonSchema", &["schema"], true, "schema: of a JSON value in the text."),
    known(
        "jsonkeys",
        "jsonKeys",
        &["keys", "operator"],
        false,
        "keys, operator: of a JSON object.",
    ),
    known(
        "validurls",
        "validUrls",
        &["onlyDNS", "timeout"],
        true,
        "onlyDNS: the URLs lead somewhere.",
    ),
    known("containscode", "containsCode", &["format"], true, "format: a code block in it."),
    known("alluppercase", "alluppercase", &[], true, "All letters are upper case."),
    known("alllowercase", "alllowercase", &[], true, "All letters are lower case."),
    known("endswith", "endsWith", &["suffix"], true, "suffix: with or without a full stop."),
    known("notnull", "notNull", &[], true, "There is a text."),
    known(
        "modelwhitelist",
        "modelwhitelist",
        &["models", "metadataRules"],
        true,
        "models, metadataRules: the model is one of them.",
    ),
    known("modelrules", "modelRules", &["rules"], true, "rules: {defaults, metadata}."),
    input_only(
        "allowedrequesttypes",
        "allowedRequestTypes",
        &["allowedTypes", "blockedTypes"],
        "allowedTypes, blockedTypes.",
    ),
    input_only(
        "requiredmetadatakeys",
        "requiredMetadataKeys",
        &["metadataKeys", "operator"],
        "metadataKeys, operator.",
    ),
    input_only(
        "addprefix",
        "addPrefix",
        &["prefix", "applyToRole", "addToExisting", "onlyIfEmpty"],
        "prefix, applyToRole (user), addToExisting (true), onlyIfEmpty (false).",
    ),
    known(
        "regexreplace",
        "regexReplace",
        &["rule", "redactText", "failOnDetection"],
        false,
        "rule, redactText, failOnDetection: replaced in every text.",
    ),
    known(
        "redactpii",
        "redactPii",
        &["patterns", "redactText", "failOnDetection"],
        false,
        "patterns: email, phone, ssn, credit_card, iban, ip_address, api_key; all if not given.",
    ),
    known(
        "webhook",
        "webhook",
        &["webhookURL", "headers", "timeout"],
        false,
        "webhookURL, headers, timeout (3000 ms): it is asked for a verdict.",
    ),
    known("log", "log", &["logURL", "headers", "timeout"], false, "logURL, headers: it is told."),
];

/// Checks of Portkey's that are known and not here.
const ELSEWHERE: [&str; 4] = ["jwt", "injecttools", "metadata", "endpointreachability"];

impl Compiler<'_, '_> {
    /// One check by its written name. `at`: where the name stands.
    pub fn check(
        &mut self,
        at: &Spot<'_>,
        written: &str,
        parameters: Option<&Spot<'_>>,
        side: Side,
    ) -> Option<Check> {
        let known = self.known_check(at, written)?;
        if known.input_only && side == Side::Output {
            self.report.about_key(at, "checks requests only; move it to input_guardrails");
            return None;
        }
        let id =
            if written.contains('.') { written.to_owned() } else { format!("default.{written}") };
        let given = match parameters {
            Some(given) if matches!(given.tree.value, Value::Null) => None,
            Some(given) if !self.is_map(given) => return None,
            given => given,
        };
        let Some(given) = given else {
            return self.without_parameters(at, known, id);
        };
        let parameters = [known.parameters, COMMON].concat();
        self.report.keys(given, &parameters, &[]);
        let not = self.flag(given, "not").unwrap_or(false);
        if not && !known.turns {
            let advice = match known.parameters.contains(&"operator") {
                true => "does not turn this check round; write operator: none",
                false => "does not turn this check round; remove it",
            };
            if let Some(found) = self.field(given, "not") {
                self.report.about_key(&found, advice);
            }
        }
        let fail_on_error = self.flag(given, "failOnError").unwrap_or(false);
        let test = self.test_of(known.key, given)?;
        Some(Check { id, fail_on_error, test, not })
    }

    fn known_check(&mut self, at: &Spot<'_>, written: &str) -> Option<&'static Known> {
        let (plugin, name) = written.split_once('.').unwrap_or(("default", written));
        let key = name.replace('_', "").to_ascii_lowercase();
        if plugin != "default" {
            let text =
                "is a check of a service outside; the checks that run here begin with default.";
            self.report.about_key(at, text);
            return None;
        }
        let found = CHECKS.iter().find(|known| known.key == key);
        if found.is_none() && ELSEWHERE.contains(&key.as_str()) {
            self.report.about_key(at, "not in this version of Trunkline; remove it");
        } else if found.is_none() {
            let hint = did_you_mean(name, CHECKS.iter().map(|known| known.name));
            self.report.about_key(at, format!("there is no check {}{hint}", shorten(name)));
        }
        found
    }

    /// Checks that need to be told nothing.
    fn without_parameters(
        &mut self,
        at: &Spot<'_>,
        known: &'static Known,
        id: String,
    ) -> Option<Check> {
        let test = match known.key {
            "alluppercase" => Test::Uppercase,
            "alllowercase" => Test::Lowercase,
            "notnull" => Test::NotNull,
            "validurls" => Test::ValidUrls { only_dns: false },
            "redactpii" => {
                Test::Redact { patterns: redactions::all(None), fail_on_detection: false }
            }
            _ => {
                let needs = known.parameters.join(", ");
                self.report.mistake(at, format!("has no parameters; it takes {needs}"));
                return None;
            }
        };
        Some(Check { id, fail_on_error: false, test, not: false })
    }

    fn test_of(&mut self, key: &str, spot: &Spot<'_>) -> Option<Test> {
        Some(match key {
            "regexmatch" => {
                let (rule, regex) = self.rule(spot)?;
                Test::Regex { rule, regex }
            }
            "contains" => Test::Contains(self.words(spot, "words")?, self.operator(spot)?),
            "jsonkeys" => Test::JsonKeys(self.words(spot, "keys")?, self.operator(spot)?),
            "requiredmetadatakeys" => {
                Test::MetadataKeys(self.words(spot, "metadataKeys")?, self.operator(spot)?)
            }
            "sentencecount" => {
                self.text_count(spot, Unit::Sentences, ["minSentences", "maxSentences"], 99_999)?
            }
            "wordcount" => self.text_count(spot, Unit::Words, ["minWords", "maxWords"], 99_999)?,
            "charactercount" => {
                let keys = ["minCharacters", "maxCharacters"];
                self.text_count(spot, Unit::Characters, keys, 9_999_999)?
            }
            "jsonschema" => Test::Schema(Box::new(self.json_schema(spot)?)),
            "validurls" => {
                Test::ValidUrls { only_dns: self.flag(spot, "onlyDNS").unwrap_or(false) }
            }
            "containscode" => Test::Code(self.language(spot)?),
            "alluppercase" => Test::Uppercase,
            "alllowercase" => Test::Lowercase,
            "notnull" => Test::NotNull,
            "endswith" => {
                Test::EndsWith(self.some_text(spot, "suffix", "write e.g. suffix: Thanks")?)
            }
            "modelwhitelist" => self.model_whitelist(spot)?,
            "modelrules" => self.model_rules(spot)?,
            "allowedrequesttypes" => Test::RequestTypes {
                allowed: self.request_types(spot, "allowedTypes"),
                blocked: self.request_types(spot, "blockedTypes"),
            },
            "addprefix" => Test::AddPrefix(self.prefix(spot)?),
            "regexreplace" => {
                let (_, regex) = self.rule(spot)?;
                let by = self.redact_text(spot).unwrap_or_else(|| "[REDACTED]".to_owned());
                let patterns = vec![Redaction::plain("rule", regex, by)];
                Test::Redact { patterns, fail_on_detection: self.fail_on_detection(spot) }
            }
            "redactpii" => Test::Redact {
                patterns: self.pii(spot)?,
                fail_on_detection: self.fail_on_detection(spot),
            },
            "webhook" => Test::Call(Box::new(self.callee(spot, "webhookURL", true)?)),
            _ => Test::Call(Box::new(self.callee(spot, "logURL", false)?)),
        })
    }
}

/// A guardrail as written, for what is kept of an epoch: without the values of headers and the queries of URLs.
pub fn without_secrets(mut json: Json) -> Json {
    hide(&mut json);
    json
}

/// As deep as a configuration may be.
fn hide(json: &mut Json) {
    match json {
        Json::Object(map) => {
            for (key, value) in map.iter_mut() {
                match (key.as_str(), &mut *value) {
                    ("headers", Json::Object(headers)) => {
                        headers.values_mut().for_each(|value| *value = Json::from("…"));
                    }
                    ("headers", other) => *other = Json::from("…"),
                    ("webhookURL" | "logURL", Json::String(url)) => {
                        if let Some(at) = url.find('?') {
                            url.truncate(at);
                            url.push_str("?…");
                        }
                    }
                    (_, value) => hide(value),
                }
            }
        }
        Json::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

/// Parameters of every check; `is_enabled` and `name` are of the short form.
const COMMON: &[&str] = &["not", "failOnError", "is_enabled"];
