//! Digests of the last messages, to tell a message that comes twice from one of a restarted engine.

use std::collections::VecDeque;

/// The last messages, contiguous.
#[derive(Debug)]
pub(super) struct History {
    digests: VecDeque<u64>,
    /// Sequence number after the last one.
    end: u64,
    max: usize,
}

impl History {
    pub(super) fn new(max: usize) -> Self {
        Self { digests: VecDeque::new(), end: 0, max: max.max(1) }
    }

    /// Remembers the message; one that does not continue the last starts anew.
    pub(super) fn remember(&mut self, sequence: u64, digest: u64) {
        if sequence != self.end {
            self.digests.clear();
        }
        if self.digests.len() == self.max {
            self.digests.pop_front();
        }
        self.digests.push_back(digest);
        self.end = sequence.saturating_add(1);
    }

    pub(super) fn clear(&mut self) {
        self.digests.clear();
        self.end = 0;
    }

    /// The last message's sequence number.
    pub(super) fn last(&self) -> Option<u64> {
        (!self.digests.is_empty()).then(|| self.end - 1)
    }

    /// A message's digest, if it is remembered.
    pub(super) fn digest(&self, sequence: u64) -> Option<u64> {
        let back = self.end.checked_sub(sequence)?;
        let at = self.digests.len().checked_sub(usize::try_from(back).ok()?)?;
        self.digests.get(at).copied()
    }

    /// Whether this message was seen under this number; `None` if that is not remembered.
    pub(super) fn is_known(&self, sequence: u64, digest: u64) -> Option<bool> {
        self.digest(sequence).map(|known| known == digest)
    }
}
