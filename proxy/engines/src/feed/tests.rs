use std::collections::VecDeque;

use super::*;
use crate::testing::{
    Made, Naive, end_marker, fingerprints, frames, message, payload, replayed, translation,
};

mod against_a_model;
mod checkpoint;
mod recordings;
mod replays;
mod restarts;
mod unusable;

/// A feed with what stands at its other end: the rank's index, and the messages that the engine can still replay.
struct Rig {
    feed: Feed,
    index: Naive,
    now: Millis,
    requests: VecDeque<(u64, u64)>,
    clears: usize,
}

impl Rig {
    fn new(config: FeedConfig, block_size: u32) -> Self {
        Self {
            feed: Feed::new(config, translation(block_size), Millis(0)),
            index: Naive::default(),
            now: Millis(0),
            requests: VecDeque::new(),
            clears: 0,
        }
    }

    fn tell(&mut self, what: impl FnOnce(&mut Feed, Millis, &mut Vec<FeedAction>)) {
        let mut actions = Vec::new();
        what(&mut self.feed, self.now, &mut actions);
        for action in &actions {
            self.index.act(action);
            match action {
                FeedAction::RequestReplay { from, id } => self.requests = VecDeque::from([(*from, *id)]),
                FeedAction::Clear => self.clears += 1,
                FeedAction::Restore => {}
                FeedAction::Apply(event) => assert_ne!(*event, CacheEvent::Cleared),
            }
        }
        let live = self.feed.phase() == FeedPhase::Live;
        assert!(!live || self.feed.missing_since().is_none());
        assert!(live || self.feed.checking || self.feed.missing_since().is_some());
        assert_eq!(self.feed.deadline().is_some(), self.feed.phase() == FeedPhase::Replaying);
    }

    /// Another process, with what this one has kept.
    fn reborn(&self) -> Self {
        let mut rig = Self::new(self.feed.config.clone(), self.feed.translator.block_size().0);
        rig.now = self.now;
        if let Some(checkpoint) = self.feed.checkpoint() {
            rig.feed.resume(&checkpoint);
            rig.index.kept = Some(self.index.blocks.clone());
        }
        rig
    }

    fn connect(&mut self) {
        self.tell(Feed::connected);
    }

    fn disconnect(&mut self) {
        self.tell(|feed, now, _| feed.disconnected(now));
    }

    fn live(&mut self, frames: &[Bytes]) {
        self.tell(|feed, now, out| feed.live(frames, now, out));
    }

    fn tick(&mut self, ms: u64) {
        self.now.0 += ms;
        self.tell(Feed::tick);
    }

    /// Answers requests from these messages, the first of which has this number, until none is open.
    fn serve(&mut self, first: u64, messages: &[Bytes]) {
        while let Some((from, id)) = self.requests.pop_front() {
            for (sequence, payload) in (first..).zip(messages).filter(|(sequence, _)| *sequence >= from) {
                self.tell(|feed, now, out| feed.replay(id, &replayed(sequence, payload), now, out));
            }
            self.tell(|feed, now, out| feed.replay(id, &end_marker(), now, out));
        }
    }

    fn blocks(&self) -> Vec<u64> {
        self.index.blocks.iter().copied().collect()
    }
}

fn config() -> FeedConfig {
    FeedConfig::new(0, "", true)
}

/// A message that stores one block, its number in this life of the engine and the life being part of its time.
fn stores(life: u32, block: u64) -> Bytes {
    let stored = Made::Stored { parent: None, blocks: vec![block] };
    payload(f64::from(life) * 1e6 + block as f64, &[stored], 0)
}

fn run_of(life: u32, blocks: std::ops::Range<u64>) -> Vec<Bytes> {
    blocks.map(|block| stores(life, block)).collect()
}

/// A feed that is live after these messages.
fn live_after(messages: &[Bytes]) -> Rig {
    let mut rig = Rig::new(config(), 1);
    rig.connect();
    rig.serve(0, messages);
    assert_eq!((rig.feed.phase(), rig.feed.completeness()), (FeedPhase::Live, Completeness::Complete));
    rig
}

#[test]
fn a_new_feed_reads_from_the_beginning() {
    let messages = run_of(0, 0..3);
    let mut rig = Rig::new(config(), 1);
    assert_eq!(rig.feed.missing_since(), Some(Millis(0)));
    rig.now = Millis(7);
    rig.connect();
    assert_eq!(rig.requests, [(0, 0)]);
    // Comes live while the replay runs, once known to it and once not.
    rig.live(&message(2, &messages[2]));
    rig.live(&message(3, &stores(0, 3)));
    rig.serve(0, &messages);
    assert_eq!(rig.blocks(), [0, 1, 2, 3]);
    assert_eq!(rig.feed.counters().duplicates, 1);
    assert_eq!(rig.clears, 0);
}

#[test]
fn the_tail_is_checked_without_calling_it_missing() {
    let messages = run_of(0, 0..5);
    let mut rig = live_after(&messages[..3]);
    rig.tell(Feed::check_tail);
    assert_eq!((rig.requests[0].0, rig.feed.missing_since()), (2, None));
    rig.serve(0, &messages[..4]);
    assert_eq!((rig.feed.phase(), rig.blocks().len(), rig.clears), (FeedPhase::Live, 4, 0));
    // With the replay endpoint gone, nothing is known to be lost.
    rig.tell(Feed::check_tail);
    rig.live(&message(4, &messages[4]));
    assert!(rig.feed.missing_since().is_some());
    for _ in 0..20 {
        rig.tick(20_000);
    }
    assert_eq!((rig.feed.phase(), rig.blocks().len(), rig.clears), (FeedPhase::Live, 5, 0));
    // A restart shows there too.
    rig.tell(Feed::check_tail);
    rig.serve(0, &run_of(1, 10..19));
    assert_eq!((rig.blocks().len(), rig.feed.counters().restarts), (9, 1));
}

#[test]
fn the_very_first_message_may_be_the_missed_one() {
    let mut rig = live_after(&[]);
    rig.tell(Feed::check_tail);
    rig.serve(0, &run_of(0, 0..1));
    assert_eq!((rig.blocks(), rig.feed.completeness()), (vec![0], Completeness::Complete));
}

#[test]
fn a_late_duplicate_is_no_restart() {
    let messages = run_of(0, 0..5);
    let mut rig = live_after(&messages);
    rig.live(&message(3, &messages[3]));
    assert_eq!((rig.feed.phase(), rig.clears), (FeedPhase::Live, 0));
    assert_eq!(rig.feed.counters().duplicates, 1);
}

#[test]
fn a_gap_is_replayed_from_the_last_message_seen() {
    let messages = run_of(0, 0..9);
    let mut rig = live_after(&messages[..3]);
    rig.now = Millis(50);
    rig.live(&message(5, &messages[5]));
    assert_eq!((rig.feed.phase(), rig.feed.missing_since()), (FeedPhase::Replaying, Some(Millis(50))));
    assert_eq!(rig.requests, [(2, 1)]);
    rig.live(&message(6, &messages[6]));
    rig.serve(0, &messages[..6]);
    assert_eq!(rig.blocks(), [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!((rig.clears, rig.feed.counters().gaps), (0, 1));
}
