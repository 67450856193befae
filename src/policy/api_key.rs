//! Makes API keys and the hashes that are stored of them. Randomness and printing are the caller's.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::base::secret::Secret;

/// What every API key begins with, so that scanners for leaked keys can find it.
pub const PREFIX: &str = "tl-";

/// The API key made of 32 random bytes.
#[must_use]
pub fn from_random(random: [u8; 32]) -> Secret {
    Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}

/// What is stored of an API key, and looked up when it is presented.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

/// The line of the configuration file that admits a key.
#[must_use]
pub fn yaml_line(key: &str) -> String {
    format!("key_sha256: \"{}\"", hex::encode(hash(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_prefix_and_its_hash() {
        let key = from_random([7; 32]);
        assert_eq!(key.reveal(), "tl-BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        // SHA-256 of "test", as `sha256sum` prints it.
        assert_eq!(
            yaml_line("test"),
            "key_sha256: \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\""
        );
    }
}
