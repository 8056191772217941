//! The table of entries: sharded, bounded by bytes, evicted in two generations.
//!
//! A shard has a young and an old map. Entries go into the young one, and a hit on an old one moves it there. When the memory in use
//! exceeds the bound, one shard after the other drops its old map and ages its young one, until it does not: what was not
//! asked for within about one turn of all shards goes. That holds few entries at a time, so no request pays for much.
//!
//! What is bounded is the memory of the entries that live, in a map or kept by a child, not what the maps list.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::charge::Charge;
use super::ends::Ends;
use super::{CacheReport, Node};

/// Many, so that dropping a shard's old map takes little time.
const SHARDS: usize = 256;

/// What an entry costs besides its content: a slot in a map that may be half empty, the counts of its `Arc`, and what the allocator
/// rounds up.
const ENTRY_OVERHEAD: usize = 160;

#[derive(Clone)]
pub(super) enum Entry {
    Ends(Arc<Ends>),
    Node(Arc<Node>),
}

#[derive(Default)]
struct Generations {
    young: FxHashMap<u128, Entry>,
    old: FxHashMap<u128, Entry>,
}

pub(super) struct Store {
    shards: Box<[Mutex<Generations>]>,
    in_use: Arc<AtomicUsize>,
    bytes_max: usize,
    /// The shard that gives way next.
    next: AtomicUsize,
}

impl Store {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            in_use: Arc::default(),
            bytes_max,
            next: AtomicUsize::new(0),
        }
    }

    pub(super) fn charge(&self, bytes: usize) -> Charge {
        Charge::of(bytes + ENTRY_OVERHEAD, &self.in_use)
    }

    pub(super) fn get(&self, name: u128) -> Option<Entry> {
        let mut shard = self.shard(name).lock();
        if let Some(entry) = shard.young.get(&name) {
            return Some(entry.clone());
        }
        let entry = shard.old.remove(&name)?;
        shard.young.insert(name, entry.clone());
        Some(entry)
    }

    pub(super) fn put(&self, name: u128, entry: Entry) {
        let replaced = self.shard(name).lock().young.insert(name, entry);
        // Outside of the lock.
        drop(replaced);
        // Two turns empty every map.
        for _ in 0..2 * SHARDS {
            if self.in_use.load(Relaxed) <= self.bytes_max {
                return;
            }
            let next = self.next.fetch_add(1, Relaxed) % SHARDS;
            let mut shard = self.shards[next].lock();
            let aged = std::mem::take(&mut shard.young);
            let dropped = std::mem::replace(&mut shard.old, aged);
            drop(shard);
            drop(dropped);
        }
    }

    fn shard(&self, name: u128) -> &Mutex<Generations> {
        // The maps go by the low bits.
        &self.shards[(name >> 64) as usize % SHARDS]
    }

    pub(super) fn report(&self) -> CacheReport {
        let entries = self.shards.iter().map(|shard| {
            let shard = shard.lock();
            shard.young.len() + shard.old.len()
        });
        CacheReport { entries: entries.sum(), bytes: self.in_use.load(Relaxed), bytes_max: self.bytes_max }
    }
}
