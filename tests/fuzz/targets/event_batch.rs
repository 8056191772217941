//! A KV-event payload, in either layout: read it and translate what it says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise_core::hash::HashKey;
use rankwise_core::ids::BlockSize;
use rankwise_engines::events::{BatchLimits, Translation, Translator, decode};

fuzz_target!(|payload: &[u8]| {
    let limits = BatchLimits { payload_bytes_max: 1 << 16, events_max: 1 << 10 };
    let Ok(batch) = decode(payload, limits) else { return };
    assert!(payload.len() <= limits.payload_bytes_max && batch.events.len() <= limits.events_max);
    let translation =
        Translation { key: HashKey::new([1; 32]), model: String::new(), block_size: BlockSize(32) };
    let mut events = Vec::new();
    Translator::new(translation).translate(&batch.events, &mut events);
});
