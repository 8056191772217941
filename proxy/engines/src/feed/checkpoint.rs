//! Where a feed stands, for another process to go on from there.

use super::{Completeness, Feed};

/// The last message whose events are in the index, and what else has to be known to go on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its number.
    pub sequence: u64,
    /// Its digest under the process's key: it means something only together with that.
    pub digest: u64,
    /// Whether the index was complete.
    pub complete: bool,
    /// The cache group that is indexed, if one has shown.
    pub group: Option<u32>,
}

impl Feed {
    /// Where it stands, once all that it asked for is done. `None` while the index is not what some message left behind.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let sequence = self.history.last().filter(|last| self.expected == last.checked_add(1))?;
        let digest = self.history.digest(sequence)?;
        let complete = match self.completeness {
            Completeness::Complete => true,
            Completeness::Partial => false,
            Completeness::Unreplayed => return None,
        };
        let is_whole = self.config.replay && !self.misled && self.resuming.is_none();
        is_whole.then(|| Checkpoint { sequence, digest, complete, group: self.translator.group() })
    }

    /// Goes on from there, before it is first connected. If the engine still has the message of the checkpoint,
    /// [`FeedAction::Restore`](super::FeedAction::Restore) is asked for; otherwise everything is read as by a new feed.
    pub fn resume(&mut self, checkpoint: &Checkpoint) {
        if !self.config.replay || checkpoint.sequence == u64::MAX {
            return;
        }
        self.history.remember(checkpoint.sequence, checkpoint.digest);
        self.expected = Some(checkpoint.sequence + 1);
        self.translator.set_group(checkpoint.group);
        self.resuming =
            Some(if checkpoint.complete { Completeness::Complete } else { Completeness::Partial });
    }
}
