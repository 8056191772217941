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

macro_rules! dist {
    ($name:literal) => {
        BuiltIn { name: $name, wasm: include_bytes!(concat!("../../../policies/dist/", $name, ".wasm")) }
    };
}

/// All of them, in the order of their names.
pub(super) const ALL: [BuiltIn; 9] = [
    dist!("kv"),
    dist!("least-loaded"),
    dist!("power-of-two"),
    dist!("prefix-hash"),
    dist!("quickest-prefill"),
    dist!("random"),
    dist!("round-robin"),
    dist!("session-affinity"),
    dist!("weighted"),
];

/// Their names, for messages.
pub(super) fn names() -> String {
    ALL.map(|policy| policy.name).join(", ")
}

impl From<BuiltInPolicy> for BuiltIn {
    fn from(policy: BuiltInPolicy) -> Self {
        let [
            kv,
            least_loaded,
            power_of_two,
            prefix_hash,
            quickest_prefill,
            random,
            round_robin,
            session_affinity,
            weighted,
        ] = ALL;
        match policy {
            BuiltInPolicy::Kv => kv,
            BuiltInPolicy::LeastLoaded => least_loaded,
            BuiltInPolicy::PowerOfTwo => power_of_two,
            BuiltInPolicy::PrefixHash => prefix_hash,
            BuiltInPolicy::QuickestPrefill => quickest_prefill,
            BuiltInPolicy::Random => random,
            BuiltInPolicy::RoundRobin => round_robin,
            BuiltInPolicy::SessionAffinity => session_affinity,
            BuiltInPolicy::Weighted => weighted,
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
