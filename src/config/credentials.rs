//! Several credentials behind one virtual key: `api_keys` in the file.

use sha2::{Digest, Sha256};

use crate::base::{limits, secret::Secret};

use super::{
    PooledCredential,
    health::Watched,
    report::{Report, Spot},
    tree::Value,
    values,
};

/// `api_keys` of a virtual key: texts, or maps of a text and its weight.
pub fn credentials(spot: &Spot<'_>, report: &mut Report) -> Vec<PooledCredential> {
    const WHAT: &str = "a list of credentials; write e.g. [\"${KEY_A}\", \"${KEY_B}\"]";
    let Some(list) = spot.get("api_keys") else { return Vec::new() };
    let mut credentials: Vec<PooledCredential> = Vec::new();
    if spot.get("api_key").is_some() {
        report.about_key(&list, "stands beside api_key; put that one into the list");
    }
    if !matches!(&list.tree.value, Value::List(items) if !items.is_empty()) {
        report.expected_secret(&list, WHAT);
        return credentials;
    }
    for item in list.items() {
        let Some((secret, weight)) = credential(&item, report) else { continue };
        if credentials.len() == limits::CREDENTIALS_MAX {
            let most = limits::CREDENTIALS_MAX;
            report.mistake(&item, format!("a virtual key has at most {most} credentials"));
            break;
        }
        if credentials.iter().any(|known| known.secret == secret) {
            report.mistake(&item, "this credential is listed twice; give one of them the weight");
        }
        let id = credential_id(spot.name(), &secret);
        credentials.push(PooledCredential { secret, weight, id });
    }
    if !credentials.is_empty() && credentials.iter().all(|one| one.weight <= 0.0) {
        report.mistake(&list, "every weight is 0: none would be used; give one a weight above 0");
    }
    credentials
}

fn credential(spot: &Spot<'_>, report: &mut Report) -> Option<(Secret, f64)> {
    if !matches!(spot.tree.value, Value::Map(_)) {
        return values::secret(spot, report).map(|secret| (secret, 1.0));
    }
    report.keys(spot, CREDENTIAL_KEYS, &[]);
    let weight = match spot.get("weight") {
        None => 1.0,
        Some(found) => match &found.tree.value {
            Value::Number(number) => number.as_f64().unwrap_or(-1.0),
            _ => -1.0,
        },
    };
    if !(0.0..=limits::WEIGHT_MAX).contains(&weight) {
        let at = spot.get("weight").unwrap_or(*spot);
        report.expected(&at, "a number of 0 or more; write e.g. 0.5");
    }
    let Some(key) = spot.get("key") else {
        report.missing(spot, "key", "write the provider's key, or ${NAME}");
        return None;
    };
    values::secret(&key, report).map(|secret| (secret, weight))
}

/// The same for the same credential of the same virtual key, whatever else a reload changes.
fn credential_id(virtual_key: &str, secret: &Secret) -> u64 {
    let mut hash = Sha256::new();
    hash.update((virtual_key.len() as u64).to_le_bytes());
    hash.update(virtual_key);
    hash.update(secret.reveal());
    let digest: [u8; 32] = hash.finalize().into();
    digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first)) & !Watched::INLINE
}

const CREDENTIAL_KEYS: &[&str] = &["key", "weight"];
