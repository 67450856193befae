//! A credential that shows itself to nobody: no `Display`, a masked `Debug`, wiped from memory on drop.

use std::fmt;

use zeroize::Zeroizing;

/// A provider credential or token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    /// The text itself, for the one place that writes it to a provider.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_print_hides_the_text() {
        assert!(!format!("{:?}", Secret::new("sk-hidden".into())).contains("hidden"));
    }
}
