//! An uploaded policy: whatever the bytes are, they are compiled or refused. Nothing of them runs.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rankwise_policy_host::{HostConfig, PolicyHost};

static HOST: LazyLock<PolicyHost> = LazyLock::new(|| {
    let config = HostConfig { component_bytes_max: 1 << 18, instances_max: 4, ..HostConfig::default() };
    PolicyHost::new(config).expect("a host")
});

fuzz_target!(init: { LazyLock::force(&HOST); }, |wasm: &[u8]| {
    if let Err(error) = HOST.compile("fuzzed", wasm) {
        assert!(!error.to_string().is_empty());
    }
});
