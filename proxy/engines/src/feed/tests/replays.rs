//! Replays that are late, short, odd, or not to be had.

use super::*;

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
