//! What a worker answers when it is asked what it is: four bodies, parted by the byte 0xFF, and a last part whose bytes say what
//! config sets by hand.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise_core::ids::BlockSize;
use rankwise_engines::Engine;
use rankwise_engines::vllm::discovery::{Answers, Overrides, describe};

fuzz_target!(|input: &[u8]| {
    let mut parts = input.split(|byte| *byte == 0xFF);
    let mut body = || parts.next().filter(|part| !part.is_empty());
    let answers = Answers { models: body(), metrics: body(), event_sources: body(), version: body() };
    let by_hand = body().unwrap_or_default();
    let number = |at: usize| by_hand.get(at).copied().filter(|byte| *byte != 0).map(u32::from);
    let overrides = Overrides {
        ranks: number(0),
        block_size: number(1).map(BlockSize),
        capacity_blocks: number(2),
        independent_ranks: number(3).is_some(),
    };
    if let Some(models) = answers.models {
        let _ = Engine::detect(models);
    }
    for host in ["10.0.0.1", "::1", "[::1]", "engine.local"] {
        if let Ok(worker) = describe(host, &answers, &overrides) {
            assert!(!worker.ranks.is_empty());
            assert!(overrides.ranks.is_none_or(|ranks| worker.ranks.len() == ranks as usize));
        }
    }
});
