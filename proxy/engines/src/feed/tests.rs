use std::collections::VecDeque;

use super::*;
use crate::testing::{
    Made, Naive, end_marker, fingerprints, frames, message, payload, replayed, translation,
};

mod against_a_model;
mod checkpoint;
mod recordings;

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

#[test]
fn a_lower_number_is_a_restart() {
    let mut rig = live_after(&run_of(0, 0..5));
    let reborn = run_of(1, 10..12);
    rig.live(&message(0, &reborn[0]));
    assert_eq!(rig.clears, 1);
    rig.serve(0, &reborn);
    assert_eq!(rig.blocks(), [10, 11]);
    assert_eq!(rig.feed.counters().restarts, 1);
    assert_eq!(rig.feed.completeness(), Completeness::Complete);
}

#[test]
fn a_restart_that_looks_like_a_gap_is_seen_by_the_anchor() {
    let mut rig = live_after(&run_of(0, 0..3));
    let reborn = run_of(1, 10..18);
    rig.live(&message(7, &reborn[7]));
    rig.serve(0, &reborn);
    assert_eq!(rig.blocks(), (10..18).collect::<Vec<_>>());
    assert_eq!(rig.feed.counters().restarts, 1);
}

#[test]
fn a_restart_behind_a_reconnect_is_seen_however_far_it_came() {
    for come in [0, 1, 2, 3, 4, 9] {
        let mut rig = live_after(&run_of(0, 0..3));
        rig.now = Millis(9);
        rig.disconnect();
        assert_eq!((rig.feed.missing_since(), rig.blocks().len()), (Some(Millis(9)), 3));
        rig.connect();
        let reborn = run_of(1, 10..10 + come);
        rig.serve(0, &reborn);
        assert_eq!(rig.blocks(), (10..10 + come).collect::<Vec<_>>());
        assert_eq!((rig.feed.counters().restarts, rig.feed.phase()), (1, FeedPhase::Live));
    }
}

#[test]
fn a_reconnect_to_the_same_engine_keeps_the_index() {
    let messages = run_of(0, 0..6);
    let mut rig = live_after(&messages[..3]);
    rig.disconnect();
    rig.connect();
    rig.serve(0, &messages);
    assert_eq!((rig.blocks().len(), rig.clears, rig.feed.counters().restarts), (6, 0, 0));
}

#[test]
fn what_left_the_replay_buffer_is_lost_and_said_so() {
    let messages = run_of(0, 0..20);
    let mut rig = live_after(&messages[..3]);
    rig.live(&message(15, &messages[15]));
    rig.serve(10, &messages[10..]);
    assert_eq!(rig.blocks(), (10..20).collect::<Vec<_>>());
    assert_eq!((rig.clears, rig.feed.completeness()), (1, Completeness::Partial));
    assert!(rig.feed.counters().lost >= 1);
    // No replay would help with an unknown parent now.
    rig.tell(Feed::unknown_parent);
    assert_eq!(rig.feed.phase(), FeedPhase::Live);
    // An empty cache is known completely.
    rig.live(&message(20, &payload(9e9, &[Made::Cleared], 0)));
    assert_eq!((rig.blocks().len(), rig.feed.completeness()), (0, Completeness::Complete));
}

#[test]
fn an_unknown_parent_reads_everything_again_now_and_then() {
    let messages = run_of(0, 0..3);
    let mut rig = live_after(&messages);
    rig.tell(Feed::unknown_parent);
    rig.tell(Feed::unknown_parent);
    assert_eq!(rig.requests.len(), 1);
    rig.serve(0, &messages);
    assert_eq!((rig.blocks().len(), rig.clears, rig.feed.counters().resyncs), (3, 1, 1));
    rig.now.0 += config().resync_interval_ms - 1;
    rig.tell(Feed::unknown_parent);
    assert_eq!(rig.feed.counters().resyncs, 1);
    rig.now.0 += 1;
    rig.tell(Feed::unknown_parent);
    assert_eq!((rig.feed.counters().resyncs, rig.feed.counters().unknown_parents), (2, 4));
}

#[test]
fn a_silent_replay_is_repeated_with_growing_pauses_and_then_done_without() {
    let messages = run_of(0, 0..9);
    let mut rig = live_after(&messages[..3]);
    rig.live(&message(5, &messages[5]));
    let mut pauses = Vec::new();
    while rig.feed.phase() == FeedPhase::Replaying {
        let before = rig.now;
        let deadline = rig.feed.deadline().unwrap();
        rig.tick(deadline.since(before) - 1);
        assert_eq!(rig.feed.deadline(), Some(deadline));
        rig.tick(1);
        pauses.push(rig.now.since(before));
    }
    let expected = [5000, 200, 5000, 400, 5000, 800, 5000, 1600, 5000, 3200, 5000, 6400, 5000, 10_000, 5000];
    assert_eq!(pauses, expected);
    assert_eq!((rig.blocks(), rig.clears), (vec![5], 1));
    assert_eq!(rig.feed.completeness(), Completeness::Unreplayed);
    assert_eq!(rig.feed.counters().replay_timeouts, 8);
    // When replay works again, an unknown parent heals the rank.
    rig.tell(Feed::unknown_parent);
    rig.serve(0, &messages);
    assert_eq!((rig.blocks().len(), rig.feed.completeness()), (9, Completeness::Complete));
}

#[test]
fn an_endpoint_that_never_has_anything_does_not_loop() {
    let mut rig = Rig::new(config(), 1);
    rig.connect();
    rig.live(&message(4, &stores(0, 4)));
    for _ in 0..100 {
        rig.serve(0, &[]);
        rig.tick(20_000);
    }
    assert_eq!((rig.feed.phase(), rig.blocks()), (FeedPhase::Live, vec![4]));
    assert_eq!(rig.feed.counters().replays, 8);
}

#[test]
fn too_many_live_messages_during_a_replay_are_replayed_in_turn() {
    let messages = run_of(0, 0..50);
    let mut rig = Rig::new(FeedConfig { buffered_messages_max: 4, ..config() }, 1);
    rig.connect();
    let (_, id) = rig.requests[0];
    for sequence in 10..40 {
        rig.live(&message(sequence, &messages[sequence as usize]));
    }
    assert!(rig.feed.counters().buffer_overflows > 0);
    for sequence in 0..10 {
        let frames = replayed(sequence, &messages[sequence as usize]);
        rig.tell(|feed, now, out| feed.replay(id, &frames, now, out));
    }
    rig.tell(|feed, now, out| feed.replay(id, &end_marker(), now, out));
    assert_eq!(rig.feed.phase(), FeedPhase::Replaying);
    rig.serve(0, &messages[..40]);
    assert_eq!((rig.feed.phase(), rig.blocks().len(), rig.clears), (FeedPhase::Live, 40, 0));
}

#[test]
fn a_hole_in_a_replay_is_asked_for_again() {
    let messages = run_of(0, 0..6);
    let mut rig = Rig::new(config(), 1);
    rig.connect();
    let (_, id) = rig.requests.pop_front().unwrap();
    for sequence in [0, 1, 4] {
        rig.tell(|feed, now, out| {
            feed.replay(id, &replayed(sequence, &messages[sequence as usize]), now, out)
        });
    }
    assert_eq!(rig.blocks(), [0, 1]);
    rig.tick(config().replay_pause_ms);
    assert_eq!(rig.requests[0].0, 1);
    rig.serve(0, &messages);
    assert_eq!((rig.blocks().len(), rig.clears), (6, 0));
}

#[test]
fn answers_to_an_abandoned_replay_are_not_heard() {
    let messages = run_of(0, 0..6);
    let mut rig = Rig::new(config(), 1);
    rig.connect();
    let (_, old) = rig.requests.pop_front().unwrap();
    rig.tell(|feed, now, out| feed.replay_failed(old, now, out));
    rig.tick(config().replay_pause_ms);
    rig.tell(|feed, now, out| feed.replay(old, &end_marker(), now, out));
    assert_eq!(rig.feed.phase(), FeedPhase::Replaying);
    rig.serve(0, &messages);
    assert_eq!(rig.blocks().len(), 6);
}

#[test]
fn replies_without_a_topic_or_an_empty_frame_are_read() {
    let messages = run_of(0, 0..3);
    let mut rig = Rig::new(config(), 1);
    rig.connect();
    let (_, id) = rig.requests[0];
    for (sequence, skip) in [(0, 0), (1, 1), (2, 2)] {
        let frames = &replayed(sequence, &messages[sequence as usize])[skip..];
        rig.tell(|feed, now, out| feed.replay(id, frames, now, out));
    }
    rig.tell(|feed, now, out| feed.replay(id, &end_marker()[2..], now, out));
    assert_eq!((rig.feed.phase(), rig.blocks().len()), (FeedPhase::Live, 3));
}

#[test]
fn without_replay_a_gap_empties_the_rank() {
    let messages = run_of(0, 0..9);
    let mut rig = Rig::new(FeedConfig { replay: false, ..config() }, 1);
    rig.connect();
    assert_eq!(rig.feed.phase(), FeedPhase::Live);
    rig.live(&message(2, &messages[2]));
    assert_eq!(rig.feed.completeness(), Completeness::Unreplayed);
    rig.live(&message(3, &messages[3]));
    assert_eq!(rig.blocks(), [2, 3]);
    rig.live(&message(6, &messages[6]));
    assert_eq!(rig.blocks(), [6]);
    let reborn = stores(1, 20);
    rig.live(&message(0, &reborn));
    assert_eq!((rig.blocks(), rig.feed.completeness()), (vec![20], Completeness::Complete));
    rig.disconnect();
    rig.connect();
    assert_eq!((rig.blocks().len(), rig.feed.completeness()), (0, Completeness::Unreplayed));
    assert!(rig.requests.is_empty());
}

/// A message of another rank.
fn of_another(block: u64) -> Bytes {
    payload(block as f64, &[Made::Stored { parent: None, blocks: vec![block] }], 1)
}

#[test]
fn a_batch_of_another_rank_has_the_rank_read_again() {
    let mut messages = run_of(0, 0..2);
    let mut rig = live_after(&messages);
    rig.live(&message(2, &of_another(9)));
    assert_eq!((rig.blocks().len(), rig.feed.counters().wrong_rank), (0, 1));
    assert_eq!((rig.feed.phase(), rig.feed.completeness()), (FeedPhase::Replaying, Completeness::Unreplayed));
    assert!(rig.requests.is_empty(), "after a pause");
    rig.tick(config().replay_pause_ms);
    messages.push(stores(0, 2));
    rig.serve(0, &messages);
    assert_eq!((rig.feed.phase(), rig.feed.completeness()), (FeedPhase::Live, Completeness::Complete));
    assert_eq!(rig.blocks(), [0, 1, 2]);
}

#[test]
fn while_another_rank_speaks_nothing_is_trusted_and_replays_become_rare() {
    let mut messages = run_of(0, 0..2);
    let mut rig = live_after(&messages);
    rig.live(&message(2, &of_another(8)));
    messages.extend([of_another(8), of_another(9)]);
    let mut pause = config().replay_pause_ms;
    for _ in 0..12 {
        rig.tick(pause - 1);
        assert!(rig.requests.is_empty(), "not before {pause} ms");
        rig.tick(1);
        rig.serve(0, &messages);
        assert_eq!((rig.blocks().len(), rig.feed.completeness()), (0, Completeness::Unreplayed));
        pause = (pause * 2).min(config().reread_pause_ms_max);
    }
    assert_eq!(pause, config().reread_pause_ms_max);
    // This rank again: what it holds from here on is known, what it stored before is not.
    messages.push(stores(0, 4));
    rig.tick(pause);
    rig.serve(0, &messages);
    assert_eq!((rig.feed.phase(), rig.feed.completeness()), (FeedPhase::Live, Completeness::Partial));
    assert_eq!(rig.blocks(), [4]);
    rig.live(&message(5, &stores(0, 5)));
    assert_eq!(rig.blocks(), [4, 5]);
}

#[test]
fn without_replay_a_batch_of_another_rank_empties_the_rank() {
    let mut rig = Rig::new(FeedConfig { replay: false, ..config() }, 1);
    rig.connect();
    rig.live(&message(0, &stores(0, 0)));
    assert_eq!(rig.feed.completeness(), Completeness::Complete);
    rig.live(&message(1, &of_another(9)));
    rig.live(&message(2, &stores(0, 2)));
    assert_eq!((rig.blocks(), rig.feed.completeness()), (vec![2], Completeness::Unreplayed));
}

#[test]
fn a_batch_that_cannot_be_read_empties_the_rank() {
    let mut rig = live_after(&run_of(0, 0..2));
    rig.live(&message(2, &Bytes::from_static(b"\xc1")));
    assert_eq!((rig.blocks().len(), rig.feed.completeness()), (0, Completeness::Partial));
    rig.live(&message(3, &stores(0, 3)));
    assert_eq!((rig.blocks(), rig.feed.counters().decode_errors), (vec![3], 1));
}

#[test]
fn frames_that_are_none_are_counted_and_ignored() {
    let mut rig = Rig::new(FeedConfig { topic: b"kv".to_vec(), ..config() }, 1);
    rig.connect();
    let (_, id) = rig.requests[0];
    let mut good = message(0, &stores(0, 0));
    rig.live(&good);
    good[0] = Bytes::from_static(b"kv");
    good[1] = Bytes::from_static(b"short");
    rig.live(&good);
    rig.live(&[]);
    rig.live(&[const { Bytes::new() }; 3]);
    rig.tell(|feed, now, out| feed.replay(id, &[], now, out));
    rig.tell(|feed, now, out| feed.replay(id, &[const { Bytes::new() }; 5], now, out));
    assert_eq!(rig.feed.counters().malformed, 6);
    assert_eq!(rig.feed.counters().messages, 0);
}

#[test]
fn a_lower_group_reads_the_rank_again() {
    let stored = Made::Stored { parent: None, blocks: vec![1] };
    let with_group = |group: u8| {
        // The made event with a group and a kind, by hand: a map of eight.
        let mut bytes = payload(f64::from(group), std::slice::from_ref(&stored), 0).to_vec();
        let map = bytes.iter().position(|byte| *byte == 0x86).unwrap();
        bytes[map] = 0x87;
        bytes.pop();
        bytes.extend_from_slice(b"\xa9group_idx");
        bytes.extend_from_slice(&[group, 0]);
        Bytes::from(bytes)
    };
    let messages = [with_group(4), with_group(2)];
    let mut rig = live_after(&messages[..1]);
    rig.live(&message(1, &messages[1]));
    assert_eq!((rig.feed.phase(), rig.requests[0].0), (FeedPhase::Replaying, 0));
    rig.serve(0, &messages);
    assert_eq!((rig.feed.phase(), rig.blocks().len(), rig.feed.counters().resyncs), (FeedPhase::Live, 1, 1));
    assert_eq!(rig.feed.skipped().total(), 1);
}
