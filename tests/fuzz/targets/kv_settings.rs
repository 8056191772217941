//! A policy's settings: the SDK's own small JSON reader takes nothing that is no JSON, and kv nothing that it cannot use.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise_policy::{Policy as _, Pool, parse_settings};
use rankwise_policy_kv::{Kv, Settings};
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Ok(settings) = parse_settings::<Settings>(text) else { return };
    assert!(serde_json::from_str::<Value>(text).is_ok(), "read what is no JSON");
    if let Ok(policy) = Kv::configure(&Pool::default(), settings) {
        assert!(!policy.needs().columns.is_empty());
    }
});
