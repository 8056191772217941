//! A client's body, to token ids: the chat template and the tokenizer with whatever is in it.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use rankwise_prompt::{Api, Body, EncoderPreference, PromptEncoder, test_support};

/// The reference: a panic of the fast encoder is caught by the proxy, but not here.
static ENCODER: LazyLock<PromptEncoder> = LazyLock::new(|| {
    PromptEncoder::from_files(test_support::qwen2_5(), EncoderPreference::Reference).expect("a tokenizer")
});

fuzz_target!(init: { LazyLock::force(&ENCODER); }, |body: &[u8]| {
    for api in [Api::ChatCompletions, Api::Responses, Api::Messages, Api::Completions] {
        let body = Body::read(api, body.to_vec().into());
        if let Ok(prompt) = body.and_then(|body| ENCODER.token_ids(&body)) {
            assert!(prompt.ids.iter().all(|id| *id < 200_000) || api == Api::Completions);
        }
    }
});
