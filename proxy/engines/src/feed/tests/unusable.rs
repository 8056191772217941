//! Messages that cannot be used, or that change what earlier ones were worth.

use super::*;

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
fn a_disproved_rank_is_read_again_after_pauses_that_double() {
    let messages = run_of(0, 0..3);
    let mut rig = live_after(&messages);
    let mut pause = config().replay_pause_ms;
    for times in 1..4 {
        rig.tell(|feed, now, out| feed.disproved(times, now, out));
        assert_eq!((rig.blocks().len(), rig.feed.completeness()), (0, Completeness::Unreplayed));
        rig.tick(pause - 1);
        assert!(rig.requests.is_empty(), "not before {pause} ms");
        rig.tick(1);
        rig.serve(0, &messages);
        assert_eq!((rig.blocks(), rig.feed.completeness()), (vec![0, 1, 2], Completeness::Complete));
        pause *= 2;
    }
    assert_eq!(rig.feed.counters().disproofs, 3);
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
