//! Replays: asking, checking what comes, and joining it with what came live meanwhile.

use std::collections::VecDeque;

use rankwise_core::ids::Millis;

use super::frames::Message;
use super::{Completeness, Feed, FeedAction, FeedPhase};

/// A replay that was asked for, or will be.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) id: u64,
    /// The last message seen before, which must come first and unchanged.
    anchor: Option<u64>,
    anchored: bool,
    /// Not asked yet: the deadline is when to ask.
    pub(super) waiting: bool,
    pub(super) deadline: Millis,
    /// Messages that it brought.
    progress: u64,
}

impl Feed {
    /// Asks for everything from the last message seen, or from 0.
    pub(super) fn start_replay(&mut self, now: Millis, out: &mut Vec<FeedAction>) {
        let anchor = self.history.last();
        let from = anchor.unwrap_or(0);
        if anchor.is_none() {
            self.expected = Some(0);
        }
        let id = self.next_replay_id;
        self.next_replay_id += 1;
        self.counters.replays += 1;
        self.phase = FeedPhase::Replaying;
        if !self.checking {
            self.missing_since.get_or_insert(now);
        }
        self.replay = Some(Replay {
            id,
            anchor,
            anchored: anchor.is_none(),
            waiting: false,
            deadline: Millis(now.0.saturating_add(self.config.replay_timeout_ms)),
            progress: 0,
        });
        out.push(FeedAction::RequestReplay { from, id });
    }

    /// Asks for everything, after a pause.
    pub(super) fn replay_later(&mut self, pause_ms: u64, now: Millis) {
        self.phase = FeedPhase::Replaying;
        self.missing_since.get_or_insert(now);
        let id = self.next_replay_id;
        self.next_replay_id += 1;
        self.replay = Some(Replay {
            id,
            anchor: None,
            anchored: true,
            waiting: true,
            deadline: Millis(now.0.saturating_add(pause_ms)),
            progress: 0,
        });
    }

    /// The running replay came to nothing: once more after a pause, or without it.
    pub(super) fn retry_replay(&mut self, now: Millis, out: &mut Vec<FeedAction>) {
        let Some(replay) = &mut self.replay else { return };
        if replay.progress > 0 {
            self.fruitless = 0;
        }
        self.fruitless += 1;
        if self.fruitless >= self.config.replay_attempts_max.max(1) {
            self.give_up(now, out);
            return;
        }
        let doublings = (self.fruitless - 1).min(16);
        let pause =
            self.config.replay_pause_ms.saturating_mul(1 << doublings).min(self.config.replay_pause_ms_max);
        replay.waiting = true;
        replay.deadline = Millis(now.0.saturating_add(pause));
    }

    /// No replay is to be had: the rank is emptied and goes on with what comes.
    fn give_up(&mut self, now: Millis, out: &mut Vec<FeedAction>) {
        if self.checking {
            // Nothing was known to be missing.
            self.fruitless = 0;
            self.go_live();
            self.drain(now, out);
            return;
        }
        self.counters.lost += 1;
        self.forget(out);
        self.expected = None;
        self.fruitless = 0;
        self.completeness = Completeness::Unreplayed;
        self.go_live();
        self.drain(now, out);
    }

    /// A message came live while a replay runs.
    pub(super) fn hold(&mut self, message: Message, now: Millis, out: &mut Vec<FeedAction>) {
        if self.buffer.last().is_some_and(|last| message.sequence <= last) {
            if self.buffer.holds(&message) {
                self.counters.duplicates += 1;
            } else {
                self.restarted(Some(message), now, out);
            }
            return;
        }
        self.missing_since.get_or_insert(now);
        if !self.buffer.push(message) {
            self.counters.buffer_overflows += 1;
        }
    }

    /// The running replay brought a message.
    pub(super) fn replayed(&mut self, message: Message, now: Millis, out: &mut Vec<FeedAction>) {
        let known = self.history.is_known(message.sequence, self.digest(&message));
        let (Some(replay), Some(expected)) = (&mut self.replay, self.expected) else { return };
        if !replay.anchored {
            if Some(message.sequence) < replay.anchor {
                return;
            }
            if Some(message.sequence) > replay.anchor {
                // The anchor is gone from the engine's buffer, and what came between with it.
                self.counters.lost += 1;
                self.forget(out);
                self.start_replay(now, out);
                return;
            }
            if known != Some(true) {
                self.restarted(None, now, out);
                return;
            }
            replay.anchored = true;
            if let Some(completeness) = self.resuming.take() {
                self.completeness = completeness;
                out.push(FeedAction::Restore);
            }
            return;
        }
        if message.sequence < expected {
            if known == Some(false) {
                self.restarted(None, now, out);
            }
            return;
        }
        if message.sequence > expected {
            if expected > 0 {
                // A hole in the middle: the engine's socket dropped what we read too slowly.
                self.counters.gaps += 1;
                self.retry_replay(now, out);
                return;
            }
            self.counters.lost += 1;
            self.completeness = Completeness::Partial;
        } else if expected == 0 {
            self.completeness = Completeness::Complete;
        }
        replay.progress += 1;
        self.apply(&message, out);
    }

    /// The running replay brought all there is.
    pub(super) fn replay_ended(&mut self, now: Millis, out: &mut Vec<FeedAction>) {
        let Some(replay) = &self.replay else { return };
        if !replay.anchored {
            // The engine has not come as far as it once was.
            self.restarted(None, now, out);
            return;
        }
        if replay.progress > 0 {
            self.fruitless = 0;
        }
        let behind =
            self.buffer.next_after(self.expected.unwrap_or(0)).is_some_and(|next| Some(next) > self.expected);
        if behind && replay.progress == 0 {
            // It claims to have nothing more while there is more: ask again, not for ever.
            self.retry_replay(now, out);
            return;
        }
        if self.misled {
            self.reread(now, out);
            return;
        }
        if self.expected == Some(0) {
            self.completeness = Completeness::Complete;
        }
        self.go_live();
        self.drain(now, out);
    }

    /// Applies what came live during the replay, until it is used up or needs another replay.
    fn drain(&mut self, now: Millis, out: &mut Vec<FeedAction>) {
        while self.phase == FeedPhase::Live {
            let Some(message) = self.buffer.pop() else { return };
            let expected = self.expected.unwrap_or(message.sequence);
            if message.sequence > expected && self.config.replay {
                self.counters.gaps += 1;
                self.buffer.put_back(message);
                self.start_replay(now, out);
            } else if message.sequence < expected {
                // The replay brought it, or began after it. A restart meanwhile would have shown in the live numbers.
                if self.history.is_known(message.sequence, self.digest(&message)) == Some(false) {
                    self.restarted(None, now, out);
                } else {
                    self.counters.duplicates += 1;
                }
            } else {
                self.in_order(message, now, out);
            }
        }
    }
}

/// Messages that came live during a replay, in ascending order, bounded.
#[derive(Debug)]
pub(super) struct Buffer {
    messages: VecDeque<Message>,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
}

impl Buffer {
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, messages_max: messages_max.max(1), bytes_max }
    }

    /// Takes a message. If there is no room, everything held is dropped first and `false` returned: what was dropped
    /// shows as a gap when the replay ends.
    pub(super) fn push(&mut self, message: Message) -> bool {
        let room = self.messages.len() < self.messages_max
            && self.bytes.saturating_add(message.payload.len()) <= self.bytes_max;
        if !room {
            self.clear();
        }
        self.bytes += message.payload.len();
        self.messages.push_back(message);
        room
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.messages.back().map(|message| message.sequence)
    }

    fn holds(&self, message: &Message) -> bool {
        let at = self.messages.binary_search_by_key(&message.sequence, |held| held.sequence);
        at.is_ok_and(|at| self.messages.get(at).is_some_and(|held| held.payload == message.payload))
    }

    /// The first sequence number held that is not below `expected`.
    fn next_after(&self, expected: u64) -> Option<u64> {
        self.messages.iter().map(|message| message.sequence).find(|sequence| *sequence >= expected)
    }

    fn pop(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.payload.len();
        Some(message)
    }

    fn put_back(&mut self, message: Message) {
        self.bytes += message.payload.len();
        self.messages.push_front(message);
    }
}
