//! One rank's event feed: in order, without gaps, across replays and restarts.
//!
//! The caller owns a SUB socket and, per replay, a DEALER socket; it tells the feed what arrives and what time it is, and
//! does what the feed answers. A feed never guesses: what it cannot prove to be the continuation of what it has seen is
//! replayed, and what cannot be replayed clears the rank.
//!
//! Every replay but those from 0 begins at the last message already seen (the anchor). If that comes back with other
//! bytes, or not at all though the engine answers, the engine was restarted meanwhile, however far its numbers have
//! come since.

mod action;
mod checkpoint;
mod config;
mod frames;
mod history;
mod replay;
mod standing;

use bytes::Bytes;
use rankwise_core::event::CacheEvent;
use rankwise_core::ids::Millis;

use crate::events::{self, Skipped, Translation, Translator};
pub use action::FeedAction;
pub use checkpoint::Checkpoint;
pub use config::{FeedConfig, FeedCounters};
pub use frames::replay_request;
use frames::{Frames, Message};
use history::History;
use replay::{Buffer, Replay};
pub use standing::{Completeness, FeedPhase};

/// The state machine of one rank.
#[derive(Debug)]
pub struct Feed {
    config: FeedConfig,
    translator: Translator,
    counters: FeedCounters,
    phase: FeedPhase,
    completeness: Completeness,
    /// Sequence number of the next message; `None` while any would do.
    expected: Option<u64>,
    history: History,
    replay: Option<Replay>,
    buffer: Buffer,
    next_replay_id: u64,
    /// Replays in a row that brought nothing.
    fruitless: u32,
    missing_since: Option<Millis>,
    last_resync: Option<Millis>,
    resync_due: bool,
    /// The running replay only looks whether something is missing.
    checking: bool,
    /// The last batch was of another rank.
    misled: bool,
    /// Times in a row that the rank is read again because of such batches.
    rereads: u32,
    /// How complete the index was that is to be restored, until the engine has proved to be the same.
    resuming: Option<Completeness>,
    scratch: Vec<CacheEvent>,
}

impl Feed {
    /// A feed that is not connected yet.
    pub fn new(config: FeedConfig, translation: Translation, now: Millis) -> Self {
        Self {
            buffer: Buffer::new(config.buffered_messages_max, config.buffered_bytes_max),
            history: History::new(config.remembered_messages),
            translator: Translator::new(translation),
            counters: FeedCounters::default(),
            phase: FeedPhase::Disconnected,
            completeness: Completeness::Unreplayed,
            expected: config.replay.then_some(0),
            replay: None,
            next_replay_id: 0,
            fruitless: 0,
            missing_since: Some(now),
            last_resync: None,
            resync_due: false,
            checking: false,
            misled: false,
            rereads: 0,
            resuming: None,
            scratch: Vec::new(),
            config,
        }
    }

    /// Where it stands.
    pub fn phase(&self) -> FeedPhase {
        self.phase
    }

    /// How much the index can hold.
    pub fn completeness(&self) -> Completeness {
        self.completeness
    }

    /// Since when an event may be due and missing; `None` while live, and while only the tail is checked.
    pub fn missing_since(&self) -> Option<Millis> {
        self.missing_since
    }

    /// What happened so far.
    pub fn counters(&self) -> &FeedCounters {
        &self.counters
    }

    /// Which events were not indexed.
    pub fn skipped(&self) -> &Skipped {
        self.translator.skipped()
    }

    /// The sequence number expected next, if any is.
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// When to call [`tick`](Self::tick) at the latest.
    pub fn deadline(&self) -> Option<Millis> {
        self.replay.as_ref().map(|replay| replay.deadline)
    }

    /// The SUB socket is connected and subscribed.
    pub fn connected(&mut self, now: Millis, out: &mut Vec<FeedAction>) {
        self.buffer.clear();
        self.fruitless = 0;
        self.checking = false;
        if self.config.replay {
            self.start_replay(now, out);
            return;
        }
        // Nothing tells whether it is the engine that it was.
        self.forget(out);
        self.completeness = Completeness::Unreplayed;
        self.go_live();
    }

    /// Looks whether the last messages came at all: one that was published before the subscription took effect, or dropped
    /// by the engine, shows as a gap only when the next one comes. Call it soon after connecting, and when the rank has been
    /// quiet for long. Does nothing unless live with a replay endpoint.
    pub fn check_tail(&mut self, now: Millis, out: &mut Vec<FeedAction>) {
        if self.phase == FeedPhase::Live && self.config.replay {
            self.checking = true;
            self.start_replay(now, out);
        }
    }

    /// The SUB socket lost its peer. What is indexed stays, with its age told by [`missing_since`](Self::missing_since).
    pub fn disconnected(&mut self, now: Millis) {
        self.phase = FeedPhase::Disconnected;
        self.replay = None;
        self.checking = false;
        self.buffer.clear();
        self.missing_since.get_or_insert(now);
    }

    /// The rank's index was emptied from outside, as for an engine that seems to be gone. If it is not, what it holds is read again
    /// from 0, now or when it is connected again.
    pub fn emptied(&mut self, now: Millis, out: &mut Vec<FeedAction>) {
        self.forget(out);
        self.buffer.clear();
        self.fruitless = 0;
        match self.phase {
            FeedPhase::Disconnected => {}
            _ if self.config.replay => self.start_replay(now, out),
            _ => self.completeness = Completeness::Unreplayed,
        }
    }

    /// A message came on the SUB socket: topic, sequence number, payload.
    pub fn live(&mut self, frames: &[Bytes], now: Millis, out: &mut Vec<FeedAction>) {
        let message = match Frames::live(frames, &self.config.topic) {
            Frames::Message(message) => message,
            Frames::End | Frames::Malformed => {
                self.counters.malformed += 1;
                return;
            }
        };
        match self.phase {
            // A message before the connection was announced says that there is one.
            FeedPhase::Disconnected => {
                self.connected(now, out);
                if self.phase == FeedPhase::Live {
                    self.in_order(message, now, out);
                } else {
                    self.hold(message, now, out);
                }
            }
            FeedPhase::Replaying => self.hold(message, now, out),
            FeedPhase::Live => self.in_order(message, now, out),
        }
        self.resync_if_due(now, out);
    }

    /// A message came on the DEALER socket of the replay with this id.
    pub fn replay(&mut self, id: u64, frames: &[Bytes], now: Millis, out: &mut Vec<FeedAction>) {
        let Some(replay) = self.replay.as_mut().filter(|replay| replay.id == id && !replay.waiting) else {
            return;
        };
        replay.deadline = Millis(now.0.saturating_add(self.config.replay_timeout_ms));
        match Frames::replay(frames) {
            Frames::Message(message) => {
                self.counters.replayed_messages += 1;
                self.replayed(message, now, out);
            }
            Frames::End => self.replay_ended(now, out),
            Frames::Malformed => self.counters.malformed += 1,
        }
        self.resync_if_due(now, out);
    }

    /// The DEALER socket of the replay with this id failed.
    pub fn replay_failed(&mut self, id: u64, now: Millis, out: &mut Vec<FeedAction>) {
        if self.replay.as_ref().is_some_and(|replay| replay.id == id && !replay.waiting) {
            self.retry_replay(now, out);
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now: Millis, out: &mut Vec<FeedAction>) {
        let Some(replay) = &self.replay else { return };
        if now < replay.deadline {
            return;
        }
        if replay.waiting {
            self.start_replay(now, out);
        } else {
            self.counters.replay_timeouts += 1;
            self.retry_replay(now, out);
        }
    }

    /// The index met a parent that it does not know. While the index should be complete, that means it is wrong:
    /// it is cleared and read again from 0, at most once per `resync_interval_ms`.
    pub fn unknown_parent(&mut self, now: Millis, out: &mut Vec<FeedAction>) {
        self.counters.unknown_parents += 1;
        // During a replay and where the beginning is gone, unknown parents are expected, and no replay would help.
        if self.phase != FeedPhase::Live || self.completeness == Completeness::Partial || !self.config.replay
        {
            return;
        }
        if self.last_resync.is_some_and(|last| now.since(last) < self.config.resync_interval_ms) {
            return;
        }
        self.last_resync = Some(now);
        self.resync_due = true;
        self.resync_if_due(now, out);
    }

    /// Answers show, for so many times in a row, that the rank does not hold what its events say: it is emptied, not trusted, and read
    /// again from 0 after a pause that doubles each time.
    pub fn disproved(&mut self, times: u32, now: Millis, out: &mut Vec<FeedAction>) {
        self.counters.disproofs += 1;
        self.buffer.clear();
        if self.phase == FeedPhase::Disconnected {
            // It is read from 0 when it is connected.
            self.forget(out);
            self.completeness = Completeness::Unreplayed;
        } else {
            self.read_again(times.saturating_sub(1), now, out);
        }
    }

    fn in_order(&mut self, message: Message, now: Millis, out: &mut Vec<FeedAction>) {
        let Some(expected) = self.expected else {
            self.adopt(message, out);
            return;
        };
        if message.sequence == expected {
            self.apply(&message, out);
            if self.misled {
                self.reread(now, out);
            } else {
                self.rereads = 0;
            }
        } else if message.sequence < expected {
            if self.history.is_known(message.sequence, self.digest(&message)) == Some(true) {
                self.counters.duplicates += 1;
            } else {
                self.restarted(Some(message), now, out);
            }
        } else {
            self.counters.gaps += 1;
            if self.config.replay {
                self.buffer.push(message);
                self.start_replay(now, out);
            } else {
                self.counters.lost += 1;
                self.forget(out);
                self.adopt(message, out);
            }
        }
    }

    /// Takes a message as the first of what will be known.
    fn adopt(&mut self, message: Message, out: &mut Vec<FeedAction>) {
        self.completeness = match message.sequence {
            0 => Completeness::Complete,
            _ if self.config.replay => self.completeness,
            _ => Completeness::Unreplayed,
        };
        self.expected = Some(message.sequence);
        self.apply(&message, out);
    }

    /// The engine began anew, and with an empty cache.
    fn restarted(&mut self, first: Option<Message>, now: Millis, out: &mut Vec<FeedAction>) {
        self.counters.restarts += 1;
        self.forget(out);
        self.buffer.clear();
        self.fruitless = 0;
        if self.config.replay {
            if let Some(first) = first {
                self.buffer.push(first);
            }
            self.start_replay(now, out);
        } else if let Some(first) = first {
            self.adopt(first, out);
        }
    }

    /// Forgets all that was seen and empties the rank.
    fn forget(&mut self, out: &mut Vec<FeedAction>) {
        out.push(FeedAction::Clear);
        self.history.clear();
        self.resuming = None;
        self.checking = false;
        self.expected = self.config.replay.then_some(0);
    }

    /// Batches of another rank came where this rank's were due: the rank is emptied, and read again from 0 after a pause that
    /// grows as long as they come.
    fn reread(&mut self, now: Millis, out: &mut Vec<FeedAction>) {
        self.misled = false;
        self.read_again(self.rereads, now, out);
        self.rereads = self.rereads.saturating_add(1);
    }

    /// What the index holds of the rank is not so: it is emptied, and read from 0 after a pause.
    fn read_again(&mut self, doublings: u32, now: Millis, out: &mut Vec<FeedAction>) {
        self.forget(out);
        self.completeness = Completeness::Unreplayed;
        self.fruitless = 0;
        if self.config.replay {
            let pause = self.config.replay_pause_ms.saturating_mul(1 << doublings.min(16));
            self.replay_later(pause.min(self.config.reread_pause_ms_max), now);
        }
    }

    fn resync_if_due(&mut self, now: Millis, out: &mut Vec<FeedAction>) {
        if std::mem::take(&mut self.resync_due) {
            self.counters.resyncs += 1;
            self.forget(out);
            self.fruitless = 0;
            if self.config.replay {
                self.start_replay(now, out);
            } else {
                self.completeness = Completeness::Unreplayed;
            }
        }
    }

    fn go_live(&mut self) {
        self.phase = FeedPhase::Live;
        self.replay = None;
        self.checking = false;
        self.missing_since = None;
    }

    fn digest(&self, message: &Message) -> u64 {
        self.translator.key().bytes(&message.payload)
    }

    /// Applies the message that is next.
    fn apply(&mut self, message: &Message, out: &mut Vec<FeedAction>) {
        self.counters.messages += 1;
        self.expected = Some(message.sequence.saturating_add(1));
        let digest = self.digest(message);
        self.history.remember(message.sequence, digest);
        let batch = match events::decode(&message.payload, self.config.limits) {
            Ok(batch) => batch,
            Err(_) => {
                // What it removed is unknown, so nothing that is indexed can be relied on; a replay brings the same bytes.
                self.counters.decode_errors += 1;
                self.completeness = Completeness::Partial;
                out.push(FeedAction::Clear);
                return;
            }
        };
        if batch.rank.is_some_and(|rank| rank != self.config.global_rank) {
            // What this rank stored and removed meanwhile is unknown, and so is whether it is this rank that speaks here.
            self.counters.wrong_rank += 1;
            self.misled = true;
            self.completeness = Completeness::Unreplayed;
            out.push(FeedAction::Clear);
            return;
        }
        if std::mem::take(&mut self.misled) && self.config.replay {
            // Within a replay: from here on it is this rank again.
            self.completeness = Completeness::Partial;
        }
        if self.translator.translate(&batch.events, &mut self.scratch) {
            self.resync_due = true;
        }
        for event in self.scratch.drain(..) {
            if event == CacheEvent::Cleared {
                self.counters.cleared += 1;
                self.completeness = Completeness::Complete;
                out.push(FeedAction::Clear);
            } else {
                out.push(FeedAction::Apply(event));
            }
        }
    }
}

#[cfg(test)]
mod tests;
