//! A table that forgets: bounded in number and in time, shared by all request threads.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::ids::Millis;

#[cfg(test)]
mod tests;

/// Values by slots: numbers that no client can choose, such as hashes under a secret.
///
/// In two generations: what is put goes into the recent one; when that is half of the bound or as old as the time to
/// live, it becomes the older one, whose predecessor is forgotten. So of as many values as half of the bound, those
/// put last, none is forgotten, and nothing need be sorted.
#[derive(Debug)]
pub struct Generations<V> {
    shards: Vec<Mutex<Shard<V>>>,
    recent_max: usize,
    ttl_ms: u64,
}

#[derive(Debug)]
struct Shard<V> {
    recent: FxHashMap<u64, Entry<V>>,
    older: FxHashMap<u64, Entry<V>>,
    turned: Millis,
}

#[derive(Clone, Copy, Debug)]
struct Entry<V> {
    value: V,
    put: Millis,
}

/// What putting a value did besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Put<V> {
    /// The value that stood there, if its time was not over.
    pub before: Option<V>,
    /// Values that had to go before their time, for want of room.
    pub evicted: usize,
}

/// From this bound on the table is split, so that threads seldom meet at a lock.
const SPLIT_FROM: usize = 1024;
const SHARDS: usize = 16;

impl<V: Copy> Generations<V> {
    /// For at most so many values (2 at least), each kept for so long after it was put.
    pub fn new(values_max: usize, ttl_ms: u64) -> Self {
        let shards = if values_max < SPLIT_FROM { 1 } else { SHARDS };
        let recent_max = (values_max / shards / 2).max(1);
        Self { shards: (0..shards).map(|_| Mutex::new(Shard::new())).collect(), recent_max, ttl_ms }
    }

    /// The value, if its time is not over.
    pub fn get(&self, slot: u64, now: Millis) -> Option<V> {
        self.shard(slot).lock().get(slot).filter(|entry| self.lives(entry, now)).map(|entry| entry.value)
    }

    /// Puts a value there, for the whole time to live.
    pub fn put(&self, slot: u64, value: V, now: Millis) -> Put<V> {
        let mut shard = self.shard(slot).lock();
        let before = shard.get(slot);
        let full = !shard.recent.contains_key(&slot) && shard.recent.len() >= self.recent_max;
        let mut forgotten = if full || now.since(shard.turned) >= self.ttl_ms {
            shard.turned = now;
            let recent = std::mem::take(&mut shard.recent);
            std::mem::replace(&mut shard.older, recent)
        } else {
            FxHashMap::default()
        };
        shard.older.remove(&slot);
        shard.recent.insert(slot, Entry { value, put: now });
        drop(shard);
        // Looking through a generation, and freeing it, takes a while: nobody waits for it.
        forgotten.remove(&slot);
        let evicted = forgotten.values().filter(|entry| self.lives(entry, now)).count();
        Put { before: before.filter(|entry| self.lives(entry, now)).map(|entry| entry.value), evicted }
    }

    /// Takes the value out.
    pub fn remove(&self, slot: u64) {
        let mut shard = self.shard(slot).lock();
        shard.recent.remove(&slot);
        shard.older.remove(&slot);
    }

    /// Values in the table, of some of which the time may be over.
    pub fn len(&self) -> usize {
        let held = |shard: &Mutex<Shard<V>>| {
            let shard = shard.lock();
            shard.recent.len() + shard.older.len()
        };
        self.shards.iter().map(held).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lives(&self, entry: &Entry<V>, now: Millis) -> bool {
        now.since(entry.put) < self.ttl_ms
    }

    fn shard(&self, slot: u64) -> &Mutex<Shard<V>> {
        // The map inside uses the low bits.
        &self.shards[(slot >> 32) as usize % self.shards.len()]
    }
}

impl<V: Copy> Shard<V> {
    fn new() -> Self {
        Self { recent: FxHashMap::default(), older: FxHashMap::default(), turned: Millis::default() }
    }

    fn get(&self, slot: u64) -> Option<Entry<V>> {
        self.recent.get(&slot).or_else(|| self.older.get(&slot)).copied()
    }
}
