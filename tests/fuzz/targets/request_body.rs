//! A client's body: the fields that routing reads, and token ids that come with it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise_prompt::{Api, given_token_ids, routing_fields};

fuzz_target!(|body: &[u8]| {
    for api in [Api::ChatCompletions, Api::Completions] {
        if let Ok(fields) = routing_fields(api, body) {
            // More is not asked: what routing passes over is for the engine to refuse.
            assert!(fields.sequences >= 1);
        }
        let _ = given_token_ids(api, body);
    }
});
