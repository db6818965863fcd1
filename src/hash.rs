//! A SHA-256 hash: 32 bytes in the database, 64 hexadecimal digits in text and JSON.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::columns::stored_as;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hash([u8; 32]);

stored_as!(Hash, [u8; 32]);

impl Hash {
    /// The hash of these bytes.
    pub fn sha256(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

/// The hash of all that was added.
impl From<Sha256> for Hash {
    fn from(hash: Sha256) -> Self {
        Self(hash.finalize().into())
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes.try_into().map(Self)
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Reads what is displayed, and nothing else: digits in upper case are refused.
impl FromStr for Hash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if !text.bytes().any(|digit| digit.is_ascii_uppercase()) => Ok(Self(bytes)),
            _ => Err(format!(
                "'{text}' is not a hash: 64 hexadecimal digits in lower case"
            )),
        }
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_written_and_nothing_else_is_a_hash() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let hash = Hash::sha256("");
        assert_eq!(hash, Hash::from(Sha256::new()));
        assert_eq!(hash.to_string(), text);
        let json = format!("\"{text}\"");
        assert_eq!(serde_json::to_string(&hash).unwrap(), json);
        assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
        for wrong in [
            "",
            &text[1..],
            &format!("{text}0"),
            &text.to_uppercase(),
            &text.replace('e', "x"),
        ] {
            let error = wrong.parse::<Hash>().unwrap_err();
            assert!(
                error.starts_with(&format!("'{wrong}' is not a hash")),
                "{error}"
            );
        }
    }
}
