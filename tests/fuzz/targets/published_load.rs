//! A message in which a rank tells its load.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise_core::policy::UNKNOWN;
use rankwise_engines::sglang::load::published;

fuzz_target!(|payload: &[u8]| {
    let Ok(message) = published(payload) else { return };
    let kv = message.report.kv_permille;
    assert!(kv <= 1000 || kv == UNKNOWN);
});
