//! Versions of policies: content-addressed, numbered per name.

use std::fmt;

use sha2::{Digest, Sha256};

/// One version of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVersion {
    /// The policy's name.
    pub name: String,
    /// 1, 2, 3 ... by name, in the order in which this process met them. The same bytes have the same number.
    pub number: u32,
    /// SHA-256 of the component, lower-case hex.
    pub digest: String,
    /// Length of the component.
    pub bytes: usize,
}

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.number)
    }
}

/// The digest of a component: SHA-256, lower-case hex.
pub fn digest(wasm: &[u8]) -> String {
    Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_sha256() {
        assert_eq!(digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
