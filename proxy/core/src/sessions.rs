//! Where the last request of each session went.

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;
use twox_hash::XxHash3_64;

use crate::hash::HashKey;
use crate::ids::{Millis, TargetId};

#[cfg(test)]
mod tests;

/// A name as a number, the same after restarts and on every replica of the proxy; never 0, which stands for none.
pub fn stable_key(name: &[u8]) -> u64 {
    XxHash3_64::oneshot(name).max(1)
}

/// A session: requests that follow one another, such as the turns of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    key: u64,
    /// The same under a secret, so that no client can make up names that meet in the table.
    slot: u64,
}

impl Session {
    /// By the name that a client gave it. Equal names of different tenants (0: none) are different sessions.
    pub fn named(name: &[u8], tenant_key: u64, secret: &HashKey) -> Self {
        let mut bytes = SmallVec::<[u8; 128]>::from_slice(&tenant_key.to_le_bytes());
        bytes.extend_from_slice(name);
        Self { key: stable_key(&bytes), slot: secret.bytes(&bytes) }
    }

    /// The same session as a second phase knows it: told to policies by the same key, and remembered apart, as its answers may
    /// be made elsewhere than its prompts are computed.
    #[must_use]
    pub fn decoding(self) -> Self {
        Self { slot: !self.slot, ..self }
    }

    /// What a policy is told; see [`stable_key`].
    pub fn key(self) -> u64 {
        self.key
    }
}

/// The table, shared by all request threads. Bounded in number and in time.
///
/// In two generations: what is heard of goes into the recent one; when that is half of the bound or as old as the time to
/// live, it becomes the older one, whose predecessor is forgotten. So of as many sessions as half of the bound, those
/// heard of last, none is forgotten, and nothing need be sorted.
#[derive(Debug)]
pub struct Sessions {
    shards: Vec<Mutex<Shard>>,
    recent_max: usize,
    ttl_ms: u64,
}

#[derive(Debug, Default)]
struct Shard {
    recent: FxHashMap<u64, Home>,
    older: FxHashMap<u64, Home>,
    turned: Millis,
}

#[derive(Clone, Copy, Debug)]
struct Home {
    target: TargetId,
    heard: Millis,
}

/// From this bound on the table is split, so that threads seldom meet at a lock.
const SPLIT_FROM: usize = 1024;
const SHARDS: usize = 16;

impl Sessions {
    /// For at most so many sessions (2 at least), each remembered for so long after its last request.
    pub fn new(sessions_max: usize, ttl_ms: u64) -> Self {
        let shards = if sessions_max < SPLIT_FROM { 1 } else { SHARDS };
        let recent_max = (sessions_max / shards / 2).max(1);
        Self { shards: (0..shards).map(|_| Mutex::default()).collect(), recent_max, ttl_ms }
    }

    /// Where the session's last request went.
    pub fn home(&self, session: Session, now: Millis) -> Option<TargetId> {
        let shard = self.shard(session).lock();
        let home = shard.recent.get(&session.slot).or_else(|| shard.older.get(&session.slot))?;
        (now.since(home.heard) < self.ttl_ms).then_some(home.target)
    }

    /// A request of the session goes there. Where the one before went.
    pub fn settle(&self, session: Session, target: TargetId, now: Millis) -> Option<TargetId> {
        let mut shard = self.shard(session).lock();
        let before = shard.recent.get(&session.slot).or_else(|| shard.older.get(&session.slot)).copied();
        let full = !shard.recent.contains_key(&session.slot) && shard.recent.len() >= self.recent_max;
        let forgotten = if full || now.since(shard.turned) >= self.ttl_ms {
            shard.turned = now;
            let recent = std::mem::take(&mut shard.recent);
            std::mem::replace(&mut shard.older, recent)
        } else {
            FxHashMap::default()
        };
        shard.older.remove(&session.slot);
        shard.recent.insert(session.slot, Home { target, heard: now });
        drop(shard);
        // Freeing a generation takes a while: nobody waits for it.
        drop(forgotten);
        before.filter(|home| now.since(home.heard) < self.ttl_ms).map(|home| home.target)
    }

    /// Sessions in the table, some of which may have expired.
    pub fn len(&self) -> usize {
        let held = |shard: &Mutex<Shard>| {
            let shard = shard.lock();
            shard.recent.len() + shard.older.len()
        };
        self.shards.iter().map(held).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, session: Session) -> &Mutex<Shard> {
        // The map inside uses the low bits.
        &self.shards[(session.slot >> 32) as usize % self.shards.len()]
    }
}
