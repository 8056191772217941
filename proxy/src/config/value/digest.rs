//! The digest of a component.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::as_string;

const PREFIX: &str = "sha256:";
const HEX_DIGITS: usize = 64;

/// SHA-256 of a component, written `sha256:` and 64 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Digest(Arc<str>);

impl Digest {
    /// The hex digits alone, lower case.
    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.0)
    }
}

impl FromStr for Digest {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text.strip_prefix(PREFIX).unwrap_or_default();
        if hex.len() == HEX_DIGITS && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            Ok(Self(hex.to_ascii_lowercase().into()))
        } else {
            Err(format!("invalid digest `{text}`: expected {PREFIX} and {HEX_DIGITS} hex digits"))
        }
    }
}

as_string!(Digest, { "type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$" });
