//! An engine that was restarted, and one that was not.

use super::*;

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
fn an_engine_that_only_seemed_to_be_gone_is_read_again() {
    let messages = run_of(0, 0..6);
    let mut rig = live_after(&messages[..3]);
    rig.tell(Feed::emptied);
    assert_eq!((rig.blocks(), rig.feed.phase(), rig.requests[0].0), (vec![], FeedPhase::Replaying, 0));
    rig.live(&message(3, &messages[3]));
    // Once more, while it is being read.
    rig.tell(Feed::emptied);
    rig.serve(0, &messages[..5]);
    assert_eq!((rig.blocks(), rig.feed.completeness()), (vec![0, 1, 2, 3, 4], Completeness::Complete));
    // And while nobody is connected.
    rig.disconnect();
    rig.tell(Feed::emptied);
    assert_eq!((rig.blocks(), rig.feed.phase()), (vec![], FeedPhase::Disconnected));
    rig.connect();
    rig.serve(0, &messages);
    assert_eq!((rig.blocks().len(), rig.feed.counters().restarts), (6, 0));
    // It was gone: what the next one holds is all there is.
    rig.tell(Feed::emptied);
    rig.serve(0, &run_of(1, 10..12));
    assert_eq!(rig.blocks(), [10, 11]);
}

#[test]
fn what_cannot_be_read_again_is_in_doubt() {
    let mut rig = Rig::new(FeedConfig::new(0, "", false), 1);
    rig.connect();
    rig.live(&message(0, &stores(0, 0)));
    assert_eq!(rig.feed.completeness(), Completeness::Complete);
    rig.tell(Feed::emptied);
    rig.live(&message(1, &stores(0, 1)));
    assert_eq!((rig.blocks(), rig.feed.completeness()), (vec![1], Completeness::Unreplayed));
}
