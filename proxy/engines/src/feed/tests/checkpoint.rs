//! A feed that goes on where another process's stood.

use super::*;

#[test]
fn only_what_is_new_is_read() {
    let messages = run_of(0, 0..6);
    let before = live_after(&messages[..4]);
    let mut rig = before.reborn();
    assert_eq!(rig.feed.checkpoint(), None, "nothing is restored yet");
    rig.connect();
    assert_eq!(rig.requests[0].0, 3, "from the last message on");
    assert!(rig.blocks().is_empty(), "the engine has not proved to be the same");
    assert_eq!(rig.feed.completeness(), Completeness::Unreplayed);
    rig.serve(0, &messages);
    assert_eq!(rig.blocks(), [0, 1, 2, 3, 4, 5]);
    assert_eq!((rig.clears, rig.feed.counters().messages), (0, 2));
    assert_eq!((rig.feed.phase(), rig.feed.completeness()), (FeedPhase::Live, Completeness::Complete));
    assert_eq!(rig.feed.checkpoint().map(|checkpoint| checkpoint.sequence), Some(5));
}

#[test]
fn nothing_new_is_nothing_lost() {
    let messages = run_of(0, 0..4);
    let mut rig = live_after(&messages).reborn();
    rig.connect();
    rig.serve(0, &messages);
    assert_eq!((rig.blocks(), rig.clears), (vec![0, 1, 2, 3], 0));
}

#[test]
fn an_engine_that_was_restarted_meanwhile_is_read_anew() {
    for restarted in [run_of(1, 10..12), run_of(1, 10..19), Vec::new()] {
        let mut rig = live_after(&run_of(0, 0..4)).reborn();
        rig.connect();
        rig.serve(0, &restarted);
        assert_eq!(rig.blocks(), (10..10 + restarted.len() as u64).collect::<Vec<_>>());
        assert_eq!((rig.feed.counters().restarts, rig.index.kept.is_none()), (1, true));
    }
}

#[test]
fn what_the_engine_can_no_longer_replay_makes_the_kept_useless() {
    let messages = run_of(0, 0..9);
    let mut rig = live_after(&messages[..4]).reborn();
    rig.connect();
    rig.serve(6, &messages[6..]);
    assert_eq!((rig.blocks(), rig.feed.completeness()), (vec![6, 7, 8], Completeness::Partial));
}

#[test]
fn without_replay_nothing_is_kept() {
    let mut rig = Rig::new(FeedConfig::new(0, "", false), 1);
    rig.connect();
    rig.live(&message(0, &stores(0, 0)));
    assert_eq!(rig.feed.completeness(), Completeness::Complete);
    assert_eq!(rig.feed.checkpoint(), None);
}

#[test]
fn what_is_not_trusted_is_not_kept() {
    let mut rig = live_after(&run_of(0, 0..4));
    rig.live(&message(4, &payload(9.0, &[Made::Removed(1)], 7)));
    assert_eq!(rig.feed.checkpoint(), None);
}
