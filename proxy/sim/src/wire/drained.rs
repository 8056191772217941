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
    /// Whether there is more to be told than of whole blocks, by numbers.
    varied: bool,
}

/// A shorter attention window has so many blocks.
const SHORT_WINDOW_BLOCKS: u32 = 4;

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
            varied: spec.varied_events,
        }
    }

    /// The events in order, the first by this number. Where there are two windows each tells of the same.
    pub(super) fn encode(&self, told: &[Told], first: u64, rank: u32, style: &BatchStyle) -> Vec<Bytes> {
        let short = SHORT_WINDOW_BLOCKS * style.block_size;
        let windows = if self.varied { vec![short, self.window] } else { vec![self.window] };
        let of_windows = told.iter().flat_map(|event| windows.iter().map(move |window| (event, *window)));
        let numbered = (first..).zip(of_windows);
        let is_first = |id| id < windows.len() as u64;
        numbered
            .map(|(id, (event, window))| self.event(event, id, is_first(id), window, rank, style))
            .collect()
    }

    /// One event. A cache that is empty from the start was made, one that is emptied was cleared.
    fn event(
        &self,
        event: &Told,
        id: u64,
        is_first: bool,
        window: u32,
        rank: u32,
        style: &BatchStyle,
    ) -> Bytes {
        let name = |page: ChainHash| self.name(style.wire_hash(page));
        let data = match event {
            Told::Event(PageEvent::Cleared) if is_first => {
                json!({"type": "created", "num_blocks_per_cache_level": [self.blocks, self.host_blocks]})
            }
            Told::Event(PageEvent::Cleared) => json!({"type": "all_cleared"}),
            Told::Event(PageEvent::Stored { tier, parent, pages, tokens, salt }) => {
                let blocks = pages.iter().zip(tokens.chunks(style.block_size as usize));
                let mut blocks: Vec<_> = blocks
                    .enumerate()
                    .map(|(at, (page, tokens))| {
                        let salt = salt.as_deref().filter(|_| at == 0);
                        block(name(*page), *tier, tokens, salt)
                    })
                    .collect();
                if let Some(last) = pages.last().filter(|_| self.varied) {
                    let some = &tokens[..style.block_size as usize / 2];
                    blocks.push(block(name(unfinished(*last)), *tier, some, None));
                }
                json!({"type": "stored", "parent_hash": parent.map(name), "blocks": blocks})
            }
            Told::Event(PageEvent::Removed { pages, .. }) => {
                // What follows a block goes before it.
                let behind = |page: &ChainHash| self.varied.then(|| unfinished(*page));
                let gone = pages.iter().flat_map(|page| behind(page).into_iter().chain([*page]));
                json!({"type": "removed", "block_hashes": gone.map(name).collect::<Vec<_>>()})
            }
            Told::Moved { page, from, to } => json!({
                "type": "updated", "block_hash": name(*page), "priority": null,
                "cache_level": {"type": "event_diff", "new_value": level(*to), "old_value": level(*from)},
            }),
        };
        let mut event = json!({"event_id": id, "data": data, "window_size": window});
        if self.names_rank {
            event["attention_dp_rank"] = rank.into();
        }
        event.to_string().into()
    }

    /// A number, or a digest that ends with it.
    fn name(&self, number: u64) -> Value {
        if self.varied {
            format!("{:048x}{number:016x}", number.rotate_left(7)).into()
        } else {
            number.into()
        }
    }
}

/// The block that is not full behind a page.
fn unfinished(page: ChainHash) -> ChainHash {
    ChainHash(!page.0)
}

fn block(name: Value, tier: Tier, tokens: &[u32], salt: Option<&str>) -> Value {
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
