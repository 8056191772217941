//! What several tests need: the recordings, batches made to order, and a naive model of a rank's cache.

use std::collections::BTreeSet;

use bytes::Bytes;
use rankwise_core::event::{CacheEvent, Parent};
use rankwise_core::hash::HashKey;
use rankwise_core::ids::BlockSize;

use crate::events::Translation;
use crate::feed::FeedAction;

pub(crate) fn recording(name: &str) -> Vec<u8> {
    let path = format!("{}/../../tests/data/vllm-0.32/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The multipart messages of a frames file.
pub(crate) fn frames(name: &str) -> Vec<Vec<Bytes>> {
    fn number(rest: &mut Bytes) -> usize {
        u32::from_be_bytes(rest.split_to(4)[..].try_into().unwrap()) as usize
    }
    let mut rest = Bytes::from(recording(name));
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let count = number(&mut rest);
        let message = (0..count).map(|_| {
            let length = number(&mut rest);
            rest.split_to(length)
        });
        messages.push(message.collect());
    }
    messages
}

pub(crate) fn translation(block_size: u32) -> Translation {
    Translation { key: HashKey::new([1; 32]), model: "tiny".into(), block_size: BlockSize(block_size) }
}

/// The blocks of one rank, as a set: the recordings hold one copy of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Naive {
    pub(crate) blocks: BTreeSet<u64>,
    pub(crate) unknown_parents: usize,
    /// What another process left behind.
    pub(crate) kept: Option<BTreeSet<u64>>,
}

impl Naive {
    pub(crate) fn apply(&mut self, event: &CacheEvent) {
        match event {
            CacheEvent::Stored { parent, blocks, .. } => {
                if let Parent::Block(parent) = parent {
                    self.unknown_parents += usize::from(!self.blocks.contains(&parent.0));
                }
                self.blocks.extend(blocks.iter().map(|block| block.engine.0));
            }
            CacheEvent::Removed { blocks, .. } => {
                for block in blocks {
                    self.blocks.remove(&block.0);
                }
            }
            CacheEvent::Cleared => self.blocks.clear(),
        }
    }

    pub(crate) fn act(&mut self, action: &FeedAction) {
        match action {
            FeedAction::Apply(event) => self.apply(event),
            FeedAction::Clear => (self.blocks, self.kept) = Default::default(),
            FeedAction::Restore => {
                assert!(self.blocks.is_empty());
                self.blocks = self.kept.take().expect("asked for once, and not after a clear");
            }
            FeedAction::RequestReplay { .. } => {}
        }
    }

    /// Number of blocks and the exclusive or of their hashes, as the recording's `.sets` files have them.
    pub(crate) fn fingerprint(&self) -> (usize, u64) {
        (self.blocks.len(), self.blocks.iter().fold(0, |all, block| all ^ block))
    }
}

/// Per message of the recording, the fingerprint of the rank's cache after it, computed by another program.
pub(crate) fn fingerprints(name: &str) -> Vec<(usize, u64)> {
    let text = String::from_utf8(recording(name)).unwrap();
    let line = |line: &str| {
        let mut fields = line.split(' ').skip(1).map(|field| field.parse::<u64>().unwrap());
        (fields.next().unwrap() as usize, fields.next().unwrap())
    };
    text.lines().map(line).collect()
}

/// One event of a batch made to order; blocks hold one token, their own hash.
#[derive(Clone, Debug)]
pub(crate) enum Made {
    Stored { parent: Option<u64>, blocks: Vec<u64> },
    Removed(u64),
    Cleared,
}

/// A payload in the map layout.
pub(crate) fn payload(timestamp: f64, events: &[Made], rank: u32) -> Bytes {
    use rmp::encode::*;
    let mut out = Vec::new();
    let to = &mut out;
    write_array_len(to, 3).unwrap();
    write_f64(to, timestamp).unwrap();
    write_array_len(to, events.len() as u32).unwrap();
    for event in events {
        match event {
            Made::Stored { parent, blocks } => {
                write_map_len(to, 6).unwrap();
                write_str(to, "type").unwrap();
                write_str(to, "BlockStored").unwrap();
                write_str(to, "block_hashes").unwrap();
                write_array_len(to, blocks.len() as u32).unwrap();
                for block in blocks {
                    write_uint(to, *block).unwrap();
                }
                write_str(to, "parent_block_hash").unwrap();
                match parent {
                    Some(parent) => drop(write_uint(to, *parent).unwrap()),
                    None => write_nil(to).unwrap(),
                }
                write_str(to, "token_ids").unwrap();
                write_array_len(to, blocks.len() as u32).unwrap();
                for block in blocks {
                    write_uint(to, *block).unwrap();
                }
                write_str(to, "block_size").unwrap();
                write_uint(to, 1).unwrap();
                write_str(to, "medium").unwrap();
                write_str(to, "GPU").unwrap();
            }
            Made::Removed(block) => {
                write_map_len(to, 2).unwrap();
                write_str(to, "type").unwrap();
                write_str(to, "BlockRemoved").unwrap();
                write_str(to, "block_hashes").unwrap();
                write_array_len(to, 1).unwrap();
                write_uint(to, *block).unwrap();
            }
            Made::Cleared => {
                write_map_len(to, 1).unwrap();
                write_str(to, "type").unwrap();
                write_str(to, "AllBlocksCleared").unwrap();
            }
        }
    }
    write_uint(to, rank.into()).unwrap();
    out.into()
}

/// The frames of a live message without a topic.
pub(crate) fn message(sequence: u64, payload: &Bytes) -> Vec<Bytes> {
    vec![Bytes::new(), Bytes::copy_from_slice(&sequence.to_be_bytes()), payload.clone()]
}

/// The frames of a replayed message.
pub(crate) fn replayed(sequence: u64, payload: &Bytes) -> Vec<Bytes> {
    let mut frames = vec![Bytes::new()];
    frames.extend(message(sequence, payload));
    frames
}

/// The marker that ends a replay.
pub(crate) fn end_marker() -> Vec<Bytes> {
    replayed(u64::MAX, &Bytes::new())
}
