//! Policies by hand, from text.

use std::sync::Arc;
use std::time::Duration;

use rankwise_core::policy::{Decision, PolicyRequest};
use rankwise_policy_host::{
    Activation, Compiled, HostConfig, HostError, PolicyFailure, PolicyHost, PoolInfo, Smoke, ThreadPolicies,
};
use serde_json::json;

const POLICY: &str = include_str!("../data/policy.wat");

/// Static data and a memory of one page; arguments go to 4096 and on, again and again.
const FRAME: &str = r#"
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at))
    ;; columns: worker and dp-rank
    (data (i32.const 16) "\00\00\00\00\01\00\00\00")
    (data (i32.const 64) "\00\00\00\00\10\00\00\00\02\00\00\00\00\00\00\00\00\00\00\00\00\00\00\00")
    (data (i32.const 512) "settings refused")
"#;

const CONFIGURE: &str = r#"
    (func (export "configure") (param i32 i32 i32 i32 i32) (result i32)
      (global.set $next (i32.const 4096))
      (i32.const 64))
"#;

/// A policy whose `pick` is this body; it may use `$rows`, `$sequence` and `$rank` (answers that row).
pub(crate) fn policy(pick: &str) -> Vec<u8> {
    policy_with(CONFIGURE, pick)
}

pub(crate) fn policy_with(configure: &str, pick: &str) -> Vec<u8> {
    let core = format!(
        r#"{FRAME}{configure}
    (func $rank (param $row i32) (result i32)
      (i64.store (i32.const 128) (i64.const 0))
      (i32.store (i32.const 136) (local.get $row))
      (i32.const 128))
    (func (export "pick")
      (param $sequence i64) (param $seed i64) (param $phase i32) (param $facts i32) (param i32) (param i32 i32)
      (param $rows i32) (param $columns i32) (param i32) (result i32)
      (global.set $next (i32.const 4096))
      {pick})"#
    );
    binary(&POLICY.replace("CORE", &core))
}

pub(crate) fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Always this row.
pub(crate) fn always(row: u32) -> Vec<u8> {
    policy(&format!("(call $rank (i32.const {row}))"))
}

/// `bad` when the sequence is odd, else row 1.
pub(crate) fn odd(bad: &str) -> Vec<u8> {
    policy(&format!(
        "(if (i64.ne (i64.and (local.get $sequence) (i64.const 1)) (i64.const 0)) (then {bad})) (call $rank (i32.const 1))"
    ))
}

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
