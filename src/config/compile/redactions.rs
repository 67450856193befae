//! The patterns of personal data that `redactPii` knows.

use regex::Regex;

use crate::config::guardrail::{Proof, Redaction};

/// One of them: the name in configs, what stands there instead, the pattern, and what a find must be besides.
type Known = (&'static str, &'static str, &'static str, Proof);

/// In the order in which they are applied: what holds another comes first.
const KNOWN: [Known; 7] = [
    (
        "email",
        "EMAIL_ADDRESS",
        r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\.[A-Za-z]{2,24}",
        Proof::None,
    ),
    (
        "api_key",
        "API_KEY",
        r"(?-u:\b)(?:sk-|sk_|pk-|gsk_|xai-|hf_|ghp_|github_pat_|AKIA|AIza|tl-)[A-Za-z0-9_-]{16,512}",
        Proof::None,
    ),
    (
        "iban",
        "IBAN",
        r"(?-u:\b)[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?-u:\b)",
        Proof::Iban,
    ),
    ("credit_card", "CREDIT_CARD", r"(?-u:\b)[0-9](?:[ -]?[0-9]){12,18}(?-u:\b)", Proof::Luhn),
    (
        "ip_address",
        "IP_ADDRESS",
        r"(?-u:\b)(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?-u:\b)|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}",
        Proof::Address,
    ),
    ("ssn", "SSN", r"(?-u:\b)[0-9]{3}-[0-9]{2}-[0-9]{4}(?-u:\b)", Proof::None),
    (
        "phone",
        "PHONE_NUMBER",
        r"\+[0-9][0-9 ().-]{6,18}[0-9](?-u:\b)|\(?(?-u:\b)[0-9]{3}\)?[ .-]{1,2}[0-9]{3}[ .-][0-9]{4}(?-u:\b)",
        Proof::None,
    ),
];

/// The names in configs.
pub const NAMES: [&str; 7] =
    [KNOWN[0].0, KNOWN[1].0, KNOWN[2].0, KNOWN[3].0, KNOWN[4].0, KNOWN[5].0, KNOWN[6].0];

/// All of them. `by`: what stands there instead; else each has a word of its own.
pub fn all(by: Option<&str>) -> Vec<Redaction> {
    NAMES.iter().filter_map(|name| named(name, by)).collect()
}

/// One of them, by its name or by Portkey's word for it.
pub fn named(name: &str, by: Option<&str>) -> Option<Redaction> {
    let fits = |known: &&Known| known.0 == name || known.1 == name;
    let (name, word, pattern, proof) = KNOWN.iter().find(fits)?;
    Some(Redaction {
        name: (*name).to_owned(),
        regex: Regex::new(pattern).ok()?,
        by: by.map_or_else(|| format!("[{word}]"), str::to_owned),
        proof: *proof,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_one() {
        assert_eq!(all(None).len(), KNOWN.len());
        assert!(named("EMAIL_ADDRESS", None).is_some() && named("name", None).is_none());
    }
}
