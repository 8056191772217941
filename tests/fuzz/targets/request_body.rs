//! A client's body: the fields that routing reads, and token ids that come with it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise_prompt::{Api, Body};

fuzz_target!(|body: &[u8]| {
    for api in Api::ALL {
        let Ok(body) = Body::read(api, body.to_vec().into()) else { return };
        if let Ok(fields) = body.routing_fields() {
            // More is not asked: what routing passes over is for the engine to refuse.
            assert!(fields.sequences >= 1);
        }
        let _ = body.given_token_ids();
    }
});
