//! Targets without events.

use super::fleet::{Fleet, prompt};
use crate::ids::Millis;
use crate::state::StateConfig;

const BLOCKS: [u64; 3] = [1, 2, 3];

fn fleet() -> Fleet {
    let fleet = Fleet::new(1, StateConfig { learned_ttl_ms: 1000, ..StateConfig::default() });
    fleet.state.learn_from_bookings(fleet.ids[0]);
    fleet
}

fn names(fleet: &Fleet) -> usize {
    fleet.state.index_stats().names
}

#[test]
fn what_was_computed_counts_as_cached_and_not_as_pending() {
    let fleet = fleet();
    let (learned, told) = (fleet.book(0, &prompt(&BLOCKS, 0), 0), fleet.book(1, &prompt(&BLOCKS, 0), 0));
    assert_eq!((fleet.overlap(0, &BLOCKS).device, fleet.overlap(0, &BLOCKS).pending), (0, 3));
    learned.first_output(Millis(10));
    told.first_output(Millis(10));
    assert_eq!((fleet.overlap(0, &BLOCKS).device, fleet.overlap(0, &BLOCKS).pending), (3, 0));
    assert_eq!((fleet.overlap(1, &BLOCKS).device, fleet.overlap(1, &BLOCKS).pending), (0, 3));
    learned.finish(Millis(20));
    assert_eq!(fleet.device(0, &[1, 2, 9]), 2);
    assert_eq!(names(&fleet), 3, "once, though it was told twice that it is through");
    assert_eq!(fleet.state.pending_report(fleet.ids[0]).unwrap().unconfirmed, 0);
}

#[test]
fn what_never_ran_is_not_learned() {
    let fleet = fleet();
    drop(fleet.book(0, &prompt(&BLOCKS, 0), 0));
    fleet.book(0, &prompt(&BLOCKS, 0), 0).fail_before_send(Millis(1));
    assert_eq!((fleet.device(0, &BLOCKS), names(&fleet)), (0, 0));
    fleet.book(0, &prompt(&BLOCKS, 0), 0).finish(Millis(1));
    assert_eq!(fleet.device(0, &BLOCKS), 3);
}

#[test]
fn blocks_live_as_long_as_the_last_prompt_that_contains_them() {
    let fleet = fleet();
    fleet.book(0, &prompt(&BLOCKS, 0), 0).finish(Millis(0));
    fleet.book(0, &prompt(&BLOCKS[..2], 0), 600).finish(Millis(600));
    fleet.state.advance(Millis(1000));
    assert_eq!(fleet.device(0, &BLOCKS), 3);
    fleet.state.advance(Millis(1001));
    assert_eq!(fleet.device(0, &BLOCKS), 2);
    fleet.state.advance(Millis(1601));
    assert_eq!((fleet.device(0, &BLOCKS), fleet.state.index_stats().blocks), (0, 0));
}

#[test]
fn the_capacity_holds_and_the_oldest_go_first() {
    let fleet = fleet();
    for n in 0..200 {
        fleet.book(0, &prompt(&[1, 100 + n], 0), n).finish(Millis(n));
        assert!(fleet.state.cached_blocks(fleet.ids[0]) <= 100, "what the target has room for");
    }
    assert_eq!(fleet.device(0, &[1, 299]), 2);
    assert_eq!(fleet.device(0, &[1, 201]), 2);
    assert_eq!(fleet.device(0, &[1, 200]), 1, "its beginning is in use");
}

#[test]
fn a_restart_forgets_what_was_learned_and_goes_on_learning() {
    let fleet = fleet();
    fleet.book(0, &prompt(&BLOCKS, 0), 0).finish(Millis(0));
    fleet.state.restart_target(fleet.ids[0]);
    assert_eq!((fleet.device(0, &BLOCKS), names(&fleet)), (0, 0));
    fleet.book(0, &prompt(&BLOCKS, 0), 500).finish(Millis(500));
    fleet.state.advance(Millis(1400));
    assert_eq!(fleet.device(0, &BLOCKS), 3);
    fleet.state.remove_target(fleet.ids[0]);
    assert_eq!(fleet.state.index_stats().blocks, 0);
}
