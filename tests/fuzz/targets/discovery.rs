//! What a worker of any engine answers when it is asked what it is: bodies in the order of the paths, parted by the byte 0xFF, and a
//! last part whose bytes say what config sets by hand.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise_core::ids::BlockSize;
use rankwise_engines::Engine;
use rankwise_engines::discovery::{Answers, Overrides};

fuzz_target!(|input: &[u8]| {
    let parts: Vec<_> = input.split(|byte| *byte == 0xFF).collect();
    let _ = Engine::detect(parts[0]);
    for engine in Engine::ALL {
        let paths = ["/v1/models"].into_iter().chain(engine.paths().iter().copied());
        let answers: Answers<'_> =
            paths.zip(parts.iter().copied()).filter(|(_, body)| !body.is_empty()).collect();
        let by_hand = parts.get(1 + engine.paths().len()).copied().unwrap_or_default();
        let number = |at: usize| by_hand.get(at).copied().filter(|byte| *byte != 0).map(u32::from);
        let overrides = Overrides {
            ranks: number(0),
            block_size: number(1).map(BlockSize),
            capacity_blocks: number(2),
            independent_ranks: number(3).is_some(),
            drain_events: number(4).is_some(),
            instance: number(5).map(u64::from),
            takes_rank_fields: None,
        };
        for host in ["10.0.0.1", "::1", "[::1]", "engine.local"] {
            if let Ok(worker) = engine.describe(host, &answers, &overrides) {
                assert!(!worker.ranks.is_empty());
                assert!(worker.block_size.is_none_or(|size| size.0 > 0));
            }
        }
        // Any of them may come in place of the load.
        let _ = engine.load_reports(parts[0]);
    }
});
