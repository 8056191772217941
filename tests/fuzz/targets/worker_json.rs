//! A worker as the admin API takes it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise::config::parse_worker;

fuzz_target!(|body: &[u8]| {
    match parse_worker(body) {
        Ok(worker) => assert!(!worker.name.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
