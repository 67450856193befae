//! Identities: indexes into one epoch's tables, and the id of a request.

use std::fmt;

/// An index into the virtual keys of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualKeyId(pub u32);

/// An index into the named configs of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigId(pub u32);

/// An index into the API keys of one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiKeyId(pub u32);

/// The id of one exchange: 128 random bits, shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u128);

impl RequestId {
    /// Its digits, without an allocation.
    #[must_use]
    pub fn digits(self) -> RequestIdDigits {
        let mut digits = [0; 32];
        for (eight, shift) in digits.as_chunks_mut::<8>().0.iter_mut().zip([96, 64, 32, 0]) {
            *eight = eight_digits((self.0 >> shift) as u32);
        }
        RequestIdDigits(digits)
    }
}

/// All eight at once, each in a byte of one word.
fn eight_digits(number: u32) -> [u8; 8] {
    let halves = u64::from(number >> 16) << 32 | u64::from(number & 0xffff);
    let bytes = (halves << 8 | halves) & 0x00ff_00ff_00ff_00ff;
    let nibbles = (bytes << 4 | bytes) & 0x0f0f_0f0f_0f0f_0f0f;
    // Six more take those from ten on past sixteen.
    let is_letter = (nibbles + 0x06 * ONES) >> 4 & ONES;
    let letter_gap = u64::from(b'a' - b'0' - 10);
    (nibbles + u64::from(b'0') * ONES + letter_gap * is_letter).to_be_bytes()
}

const ONES: u64 = 0x0101_0101_0101_0101;

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits().as_str())
    }
}

/// A request's id as text.
#[derive(Clone, Copy, Debug)]
pub struct RequestIdDigits([u8; 32]);

impl RequestIdDigits {
    /// The bytes of the text.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default() // digits are ASCII
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_number() {
        for id in [0, 1, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210, u128::MAX, u128::MAX / 17 * 9] {
            assert_eq!(RequestId(id).digits().as_str(), format!("{id:032x}"));
        }
    }
}
