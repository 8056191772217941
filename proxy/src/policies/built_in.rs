//! The components that are part of the binary: what `policies/build` made of `policies/`.

use crate::config::BuiltInPolicy;

/// A built-in policy.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// The component.
    pub wasm: &'static [u8],
}

/// All of them.
pub(super) const ALL: [BuiltIn; 4] = [
    BuiltIn { name: "kv", wasm: include_bytes!("../../../policies/dist/kv.wasm") },
    BuiltIn { name: "least-loaded", wasm: include_bytes!("../../../policies/dist/least-loaded.wasm") },
    BuiltIn { name: "random", wasm: include_bytes!("../../../policies/dist/random.wasm") },
    BuiltIn { name: "round-robin", wasm: include_bytes!("../../../policies/dist/round-robin.wasm") },
];

impl From<BuiltInPolicy> for BuiltIn {
    fn from(policy: BuiltInPolicy) -> Self {
        let [kv, least_loaded, random, round_robin] = ALL;
        match policy {
            BuiltInPolicy::Kv => kv,
            BuiltInPolicy::LeastLoaded => least_loaded,
            BuiltInPolicy::Random => random,
            BuiltInPolicy::RoundRobin => round_robin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_its_own_component() {
        for policy in BuiltInPolicy::ALL {
            assert_eq!(BuiltIn::from(*policy).name, policy.name());
        }
    }
}
