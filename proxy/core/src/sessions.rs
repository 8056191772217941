//! Where the last request of each session went.

use smallvec::SmallVec;
use twox_hash::XxHash3_64;

use crate::generations::Generations;
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

/// The table, shared by all request threads. Bounded in number and in time: beyond either, those not heard of for longest are
/// forgotten ([`Generations`]).
#[derive(Debug)]
pub struct Sessions(Generations<TargetId>);

impl Sessions {
    /// For at most so many sessions (2 at least), each remembered for so long after its last request.
    pub fn new(sessions_max: usize, ttl_ms: u64) -> Self {
        Self(Generations::new(sessions_max, ttl_ms))
    }

    /// Where the session's last request went.
    pub fn home(&self, session: Session, now: Millis) -> Option<TargetId> {
        self.0.get(session.slot, now)
    }

    /// A request of the session goes there. Where the one before went.
    pub fn settle(&self, session: Session, target: TargetId, now: Millis) -> Option<TargetId> {
        self.0.put(session.slot, target, now).before
    }

    /// Sessions in the table, some of which may have expired.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
