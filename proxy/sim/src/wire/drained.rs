//! What a bare TensorRT-LLM server tells whoever asks first: JSON, in the words of its `KVCacheEventSerializer`, and every event with
//! a number of its own.

use bytes::Bytes;
use serde_json::{Value, json};

use super::event_wire::BatchStyle;
use super::pages::PageEvent;
use crate::FleetSpec;

/// What the events of a rank's cache have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheAbout {
    /// Blocks on the device.
    blocks: u32,
    /// Tokens of its attention window.
    window: u32,
    /// Whether events name their rank, as they do under attention DP.
    names_rank: bool,
}

impl CacheAbout {
    pub(super) fn of(spec: &FleetSpec) -> Self {
        Self { blocks: spec.blocks_per_rank - 1, window: spec.model_len(), names_rank: spec.ranks > 1 }
    }

    /// One event. A cache that is empty from the start was made, one that is emptied was cleared.
    pub(super) fn encode(&self, event: &PageEvent, id: u64, rank: u32, style: &BatchStyle) -> Bytes {
        let data = match event {
            PageEvent::Cleared if id == 0 => {
                json!({"type": "created", "num_blocks_per_cache_level": [self.blocks, 0]})
            }
            PageEvent::Cleared => json!({"type": "all_cleared"}),
            PageEvent::Stored { parent, pages, tokens, salt } => {
                let blocks = pages.iter().zip(tokens.chunks(style.block_size as usize));
                let blocks: Vec<_> = blocks
                    .enumerate()
                    .map(|(at, (page, tokens))| {
                        let salt = salt.as_deref().filter(|_| at == 0);
                        block(style.wire_hash(*page), tokens, salt)
                    })
                    .collect();
                json!({"type": "stored", "parent_hash": parent.map(|page| style.wire_hash(page)), "blocks": blocks})
            }
            PageEvent::Removed(pages) => {
                let names: Vec<_> = pages.iter().map(|page| style.wire_hash(*page)).collect();
                json!({"type": "removed", "block_hashes": names})
            }
        };
        let mut event = json!({"event_id": id, "data": data, "window_size": self.window});
        if self.names_rank {
            event["attention_dp_rank"] = rank.into();
        }
        event.to_string().into()
    }
}

fn block(name: u64, tokens: &[u32], salt: Option<&str>) -> Value {
    let token = |id: &u32| json!({"type": "unique_token", "token_id": id, "token_extra_id": 0});
    let tokens: Vec<_> = tokens.iter().map(token).collect();
    let mut block = json!({"type": "stored_block", "block_hash": name, "tokens": tokens, "cache_level": 0, "priority": 35});
    if let Some(salt) = salt {
        block["cache_salt"] = salt.into();
    }
    block
}

/// An answer: all that was told since the last one.
pub(super) fn answer(events: &[Bytes]) -> String {
    let events: Vec<_> = events.iter().map(|event| String::from_utf8_lossy(event)).collect();
    format!("[{}]", events.join(","))
}
