//! A host for policies by hand, and asking them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rankwise_core::policy::{Decision, PolicyRequest};
use rankwise_policy_host::{
    Activation, Compiled, HostConfig, HostError, PolicyFailure, PolicyHost, PoolInfo, Smoke, ThreadPolicies,
};
use serde_json::json;

pub(crate) use crate::text::{always, binary, odd, policy, policy_with};

pub(crate) fn host() -> PolicyHost {
    host_with(|_| ())
}

/// A small one, whose instances may always be made by the thread that needs them.
pub(crate) fn host_with(change: impl FnOnce(&mut HostConfig)) -> PolicyHost {
    let mut config =
        HostConfig { instances_max: 24, inline_cost_max: Duration::from_secs(5), ..HostConfig::default() };
    change(&mut config);
    PolicyHost::new(config).unwrap()
}

pub(crate) fn pool() -> PoolInfo {
    PoolInfo { model: "m".into(), block_size: 16 }
}

pub(crate) fn activate(host: &PolicyHost, compiled: &Arc<Compiled>) -> Result<Arc<Activation>, HostError> {
    host.activate(compiled, &pool(), &json!({}), &Smoke::example(), 1)
}

/// Compiled and activated.
pub(crate) fn active(host: &PolicyHost, wasm: &[u8]) -> Arc<Activation> {
    let compiled = host.compile("test", wasm).unwrap();
    activate(host, &compiled).unwrap()
}

/// Why it is refused.
pub(crate) fn refusal(host: &PolicyHost, wasm: &[u8]) -> String {
    let activated = host.compile("test", wasm).and_then(|compiled| activate(host, &compiled));
    activated.unwrap_err().to_string()
}

/// A pick from 4 rows: 2 workers, 10 and 11, of 2 ranks.
pub(crate) fn pick(
    policies: &mut ThreadPolicies,
    activation: &Arc<Activation>,
    sequence: u64,
) -> Result<Decision, PolicyFailure> {
    let request = PolicyRequest { sequence, ..PolicyRequest::default() };
    let table = [10, 10, 11, 11, 0, 1, 0, 1];
    let columns = &table[..4 * activation.needs().columns.len()];
    policies.pick(activation, &request, 4, columns, |worker| table[..4].contains(&worker))
}

/// Waits for what another thread does.
pub(crate) fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::yield_now();
    }
}
