//! A metrics page: samples, the load of each rank.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise_engines::prometheus::samples;
use rankwise_engines::vllm::load::reports;

fuzz_target!(|page: &[u8]| {
    let wanted = ["vllm:cache_config_info", "vllm:num_requests_running"];
    for sample in samples(page, &wanted) {
        assert!(wanted.contains(&sample.name));
        assert_eq!(sample.label("no such label, not even escaped \u{1}"), None);
    }
    assert!(reports(page).len() <= 4096);
});
