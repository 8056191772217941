//! KV events in msgpack, key for key as vLLM 0.32 writes them, or in the arrays of its older versions.

use bytes::Bytes;
use rmp::encode as mp;

use crate::model::chain::ChainHash;
use crate::model::pool::{CacheChange, Tier};
use crate::spec::EventLayout;

/// How a rank writes its batches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchStyle {
    pub(crate) layout: EventLayout,
    pub(crate) block_size: u32,
    /// Mixed into the blocks' names; 0 leaves them as they are.
    pub(crate) hash_seed: u64,
    /// Whether stored events of the host's blocks carry their tokens.
    pub(crate) describes_host: bool,
}

impl BatchStyle {
    pub(crate) fn wire_hash(&self, hash: ChainHash) -> u64 {
        // Odd multiplier: different blocks keep different names.
        (hash.0 ^ self.hash_seed).wrapping_mul(self.hash_seed.wrapping_mul(2) | 1)
    }
}

/// The batch `[ts, events, rank]`.
pub(crate) fn encode(changes: &[CacheChange], rank: u32, unix_seconds: f64, style: &BatchStyle) -> Bytes {
    let mut out = Writer(Vec::with_capacity(256));
    out.array(3);
    out.float(unix_seconds);
    out.array(changes.len());
    for change in changes {
        match style.layout {
            EventLayout::Maps => event_map(&mut out, change, style),
            EventLayout::Arrays => event_array(&mut out, change, style),
        }
    }
    out.number(u64::from(rank));
    out.0.into()
}

fn event_map(out: &mut Writer, change: &CacheChange, style: &BatchStyle) {
    match change {
        CacheChange::Stored { tier: Tier::Host, blocks, .. } if !style.describes_host => {
            out.map(8);
            out.entry("type").text("BlockStored");
            out.entry("block_hashes").hashes(blocks, style);
            out.entry("parent_block_hash").nil();
            out.entry("token_ids").array(0);
            out.entry("block_size").number(u64::from(style.block_size));
            out.entry("lora_id").nil();
            out.entry("medium").text(medium(Tier::Host));
            out.entry("lora_name").nil();
        }
        CacheChange::Stored { tier, parent, blocks, tokens, salt } => {
            out.map(11);
            out.entry("type").text("BlockStored");
            out.entry("block_hashes").hashes(blocks, style);
            out.entry("parent_block_hash").parent(*parent, style);
            out.entry("token_ids").numbers(tokens);
            out.entry("block_size").number(u64::from(style.block_size));
            out.entry("lora_id").nil();
            out.entry("medium").text(medium(*tier));
            out.entry("lora_name").nil();
            out.entry("extra_keys").extra_keys(blocks.len(), salt.as_deref());
            out.entry("group_idx").number(0);
            out.entry("kv_cache_spec_kind").text("full_attention");
        }
        CacheChange::Removed { tier, block } => {
            out.map(4);
            out.entry("type").text("BlockRemoved");
            out.entry("block_hashes").hashes(&[*block], style);
            out.entry("medium").text(medium(*tier));
            out.entry("group_idx").number(0);
        }
        CacheChange::Cleared => {
            out.map(1);
            out.entry("type").text("AllBlocksCleared");
        }
    }
}

fn event_array(out: &mut Writer, change: &CacheChange, style: &BatchStyle) {
    match change {
        CacheChange::Stored { tier, parent, blocks, tokens, salt } => {
            let is_described = *tier == Tier::Device || style.describes_host;
            out.array(10);
            out.text("BlockStored");
            out.hashes(blocks, style);
            out.parent(parent.filter(|_| is_described), style);
            out.numbers(if is_described { tokens } else { &[] });
            out.number(u64::from(style.block_size));
            out.nil();
            out.text(medium(*tier));
            out.nil();
            out.extra_keys(blocks.len(), salt.as_deref());
            out.number(0);
        }
        CacheChange::Removed { tier, block } => {
            out.array(4);
            out.text("BlockRemoved");
            out.hashes(&[*block], style);
            out.text(medium(*tier));
            out.number(0);
        }
        CacheChange::Cleared => {
            out.array(1);
            out.text("AllBlocksCleared");
        }
    }
}

/// vLLM's word for where a block lies.
fn medium(tier: Tier) -> &'static str {
    match tier {
        Tier::Device => "GPU",
        Tier::Host => "CPU",
    }
}

/// Writing into memory cannot fail, so results are dropped here and nowhere else.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn array(&mut self, length: usize) {
        let _ = mp::write_array_len(&mut self.0, length as u32);
    }

    pub(super) fn map(&mut self, length: u32) {
        let _ = mp::write_map_len(&mut self.0, length);
    }

    pub(super) fn entry(&mut self, key: &str) -> &mut Self {
        self.text(key);
        self
    }

    pub(super) fn text(&mut self, text: &str) {
        let _ = mp::write_str(&mut self.0, text);
    }

    pub(super) fn signed(&mut self, number: i64) {
        let _ = mp::write_sint(&mut self.0, number);
    }

    pub(super) fn number(&mut self, number: u64) {
        let _ = mp::write_uint(&mut self.0, number);
    }

    pub(super) fn float(&mut self, number: f64) {
        let _ = mp::write_f64(&mut self.0, number);
    }

    pub(super) fn nil(&mut self) {
        let _ = mp::write_nil(&mut self.0);
    }

    pub(super) fn numbers(&mut self, numbers: &[u32]) {
        self.array(numbers.len());
        for &number in numbers {
            self.number(u64::from(number));
        }
    }

    fn hashes(&mut self, hashes: &[ChainHash], style: &BatchStyle) {
        self.array(hashes.len());
        for &hash in hashes {
            self.number(style.wire_hash(hash));
        }
    }

    fn parent(&mut self, parent: Option<ChainHash>, style: &BatchStyle) {
        match parent {
            Some(hash) => self.number(style.wire_hash(hash)),
            None => self.nil(),
        }
    }

    /// One entry per block; only a first block has a key, its salt.
    fn extra_keys(&mut self, blocks: usize, salt: Option<&str>) {
        self.array(blocks);
        for block in 0..blocks {
            match salt {
                Some(salt) if block == 0 => {
                    self.array(1);
                    self.text(salt);
                }
                _ => self.nil(),
            }
        }
    }
}
