//! What a bare TensorRT-LLM server tells whoever asks first: JSON, in the words of its `KVCacheEventSerializer`, and every event with
//! a number of its own.

use bytes::Bytes;
use serde_json::{Value, json};

use super::event_wire::BatchStyle;
use super::pages::PageEvent;
use crate::FleetSpec;
use crate::model::chain::ChainHash;
use crate::model::pool::Tier;

/// What the events of a rank's cache have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheAbout {
    /// Blocks on the device.
    blocks: u32,
    /// Blocks of the host.
    host_blocks: u32,
    /// Tokens of its attention window.
    window: u32,
    /// Whether events name their rank, as they do under attention DP.
    names_rank: bool,
}

/// An event in TensorRT-LLM's sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Event(PageEvent),
    /// A block lies in another tier now.
    Moved {
        page: ChainHash,
        from: Tier,
        to: Tier,
    },
}

/// A block that is stored in one tier and, right after that, gone from the other has moved.
pub(super) fn told(events: Vec<PageEvent>) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::with_capacity(events.len());
    for event in events {
        match (told.last(), event) {
            (
                Some(Told::Event(PageEvent::Stored { tier: to, pages: stored, .. })),
                PageEvent::Removed { tier: from, mut pages },
            ) if *to != from && stored.len() == 1 && stored.first() == pages.first() => {
                let moved = Told::Moved { page: pages.remove(0), from, to: *to };
                told.pop();
                told.push(moved);
                if !pages.is_empty() {
                    told.push(Told::Event(PageEvent::Removed { tier: from, pages }));
                }
            }
            (_, event) => told.push(Told::Event(event)),
        }
    }
    told
}

impl CacheAbout {
    pub(super) fn of(spec: &FleetSpec) -> Self {
        Self {
            blocks: spec.blocks_per_rank - 1,
            host_blocks: spec.host_blocks,
            window: spec.model_len(),
            names_rank: spec.ranks > 1,
        }
    }

    /// One event. A cache that is empty from the start was made, one that is emptied was cleared.
    pub(super) fn encode(&self, event: &Told, id: u64, rank: u32, style: &BatchStyle) -> Bytes {
        let data = match event {
            Told::Event(PageEvent::Cleared) if id == 0 => {
                json!({"type": "created", "num_blocks_per_cache_level": [self.blocks, self.host_blocks]})
            }
            Told::Event(PageEvent::Cleared) => json!({"type": "all_cleared"}),
            Told::Event(PageEvent::Stored { tier, parent, pages, tokens, salt }) => {
                let blocks = pages.iter().zip(tokens.chunks(style.block_size as usize));
                let blocks: Vec<_> = blocks
                    .enumerate()
                    .map(|(at, (page, tokens))| {
                        let salt = salt.as_deref().filter(|_| at == 0);
                        block(style.wire_hash(*page), *tier, tokens, salt)
                    })
                    .collect();
                json!({"type": "stored", "parent_hash": parent.map(|page| style.wire_hash(page)), "blocks": blocks})
            }
            Told::Event(PageEvent::Removed { pages, .. }) => {
                let names: Vec<_> = pages.iter().map(|page| style.wire_hash(*page)).collect();
                json!({"type": "removed", "block_hashes": names})
            }
            Told::Moved { page, from, to } => json!({
                "type": "updated", "block_hash": style.wire_hash(*page), "priority": null,
                "cache_level": {"type": "event_diff", "new_value": level(*to), "old_value": level(*from)},
            }),
        };
        let mut event = json!({"event_id": id, "data": data, "window_size": self.window});
        if self.names_rank {
            event["attention_dp_rank"] = rank.into();
        }
        event.to_string().into()
    }
}

fn block(name: u64, tier: Tier, tokens: &[u32], salt: Option<&str>) -> Value {
    let token = |id: &u32| json!({"type": "unique_token", "token_id": id, "token_extra_id": 0});
    let tokens: Vec<_> = tokens.iter().map(token).collect();
    let mut block = json!({
        "type": "stored_block", "block_hash": name, "tokens": tokens, "cache_level": level(tier), "priority": 35,
    });
    if let Some(salt) = salt {
        block["cache_salt"] = salt.into();
    }
    block
}

fn level(tier: Tier) -> u32 {
    match tier {
        Tier::Device => 0,
        Tier::Host => 1,
    }
}

/// An answer: all that was told since the last one.
pub(super) fn answer(events: &[Bytes]) -> String {
    let events: Vec<_> = events.iter().map(|event| String::from_utf8_lossy(event)).collect();
    format!("[{}]", events.join(","))
}
