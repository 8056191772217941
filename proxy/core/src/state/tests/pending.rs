//! Pending blocks, rule by rule.

use super::fleet::{Fleet, prompt, request, stored};
use crate::event::CacheEvent;
use crate::event::Tier::Device;
use crate::ids::Millis;
use crate::policy::Column;
use crate::request::PlacementRequest;
use crate::state::StateConfig;

const BLOCKS: [u64; 3] = [1, 2, 3];
const STORED: [(u64, u64); 3] = [(11, 1), (12, 2), (13, 3)];

fn fleet() -> Fleet {
    Fleet::new(1, StateConfig::default())
}

/// Has one event of the target 0 come so long after the first output of its request.
fn late_by(fleet: &Fleet, lag_ms: u64) {
    let booking = fleet.book(0, &prompt(&[9], 0), 100);
    booking.first_output(Millis(200));
    booking.finish(Millis(200));
    store_at(fleet, &[(19, 9)], 200 + lag_ms);
    fleet.remove(0, &[19], Device);
}

fn store_at(fleet: &Fleet, blocks: &[(u64, u64)], at: u64) {
    fleet.state.apply(fleet.ids[0], &stored(None, blocks, Device), Millis(at));
}

fn grace_ms(fleet: &Fleet) -> u64 {
    fleet.state.pending_report(fleet.ids[0]).unwrap().grace_ms
}

#[test]
fn a_burst_on_one_cold_prompt_sees_its_owner() {
    let fleet = fleet();
    let prompt = prompt(&BLOCKS, 4);
    let bookings: Vec<_> = (0..16).map(|_| fleet.book(0, &prompt, 0)).collect();
    let overlap = fleet.overlap(0, &BLOCKS);
    assert_eq!((overlap.device, overlap.pending), (0, 3));
    assert_eq!(fleet.overlap(1, &BLOCKS).pending, 0);
    assert_eq!(fleet.prefill(0), 52 + 15 * 4, "the blocks count once");
    assert_eq!(bookings[5].expected().device_blocks, 0, "pending is not expected to be reused");
    assert_eq!(bookings[5].expected().pending_blocks, 3);
    assert_eq!(fleet.figure(0, &request(&prompt), Column::NewBlocks), 1);
    assert_eq!(fleet.figure(1, &request(&prompt), Column::NewBlocks), 4);
    assert_eq!(fleet.figure(0, &request(&prompt), Column::ActiveBlocks), 3 + 16);
    drop(bookings);
    fleet.assert_idle();
}

#[test]
fn the_next_holder_inherits_when_the_owner_ends_unsaved() {
    let fleet = fleet();
    let owner = fleet.book(0, &prompt(&BLOCKS, 4), 0);
    let heir = fleet.book(0, &prompt(&BLOCKS[..2], 4), 0);
    let last = fleet.book(0, &prompt(&BLOCKS, 4), 0);
    assert_eq!(fleet.prefill(0), 52 + 4 + 4);
    owner.fail_before_send(Millis(1));
    assert_eq!(fleet.prefill(0), 36 + 20, "two blocks to the heir, the third to who alone has it");
    drop(heir);
    assert_eq!(fleet.prefill(0), 52);
    drop(last);
    fleet.assert_idle();
    assert_eq!(fleet.state.index_stats().blocks, 0);
}

#[test]
fn stored_confirms_without_double_credit() {
    let fleet = fleet();
    let booking = fleet.book(0, &prompt(&BLOCKS, 4), 0);
    assert_eq!(fleet.store(0, None, &STORED[..2], Device).confirmed, 2);
    let overlap = fleet.overlap(0, &BLOCKS);
    assert_eq!((overlap.device, overlap.pending), (2, 1));
    assert_eq!(fleet.prefill(0), 20, "what is stored is prefilled");
    assert!(!booking.prefilled());
    fleet.store(0, Some(12), &STORED[2..], Device);
    assert!(booking.prefilled(), "its last whole block is stored");
    assert_eq!(fleet.prefill(0), 0);
    booking.finish(Millis(5));
    fleet.assert_idle();
    let report = fleet.state.pending_report(fleet.ids[0]).unwrap();
    assert_eq!((report.confirmed, report.unconfirmed), (3, 0));
}

#[test]
fn a_removed_block_is_not_resurrected() {
    let fleet = fleet();
    let booking = fleet.book(0, &prompt(&BLOCKS, 0), 0);
    fleet.store(0, None, &STORED, Device);
    fleet.remove(0, &[13, 12], Device);
    let overlap = fleet.overlap(0, &BLOCKS);
    assert_eq!((overlap.device, overlap.pending), (1, 0));
    drop(booking);
}

#[test]
fn cancelled_before_the_first_byte_drops_at_once_and_after_it_waits() {
    let fleet = fleet();
    drop(fleet.book(0, &prompt(&BLOCKS, 0), 0));
    assert_eq!(fleet.overlap(0, &BLOCKS).pending, 0);
    late_by(&fleet, 150);
    let booking = fleet.book(0, &prompt(&BLOCKS, 0), 1000);
    booking.first_output(Millis(1010));
    assert_eq!(fleet.prefill(0), 0);
    drop(booking);
    let load = fleet.state.load(fleet.ids[0]).unwrap();
    assert_eq!((load.active_blocks, load.running, load.pending_blocks), (0, 0, 3));
    fleet.state.advance(Millis(1309));
    assert_eq!(fleet.overlap(0, &BLOCKS).pending, 3);
    fleet.state.advance(Millis(1310));
    assert_eq!(fleet.overlap(0, &BLOCKS).pending, 0, "twice the 99th percentile of the lag");
    assert_eq!(fleet.state.pending_report(fleet.ids[0]).unwrap().unconfirmed, 3);
    assert_eq!(fleet.state.index_stats().blocks, 0);
}

#[test]
fn the_event_may_come_after_the_answer() {
    let fleet = fleet();
    fleet.book(0, &prompt(&BLOCKS, 0), 0).finish(Millis(10));
    assert_eq!(fleet.store(0, None, &STORED, Device).confirmed, 3);
    fleet.state.advance(Millis(10_000));
    let report = fleet.state.pending_report(fleet.ids[0]).unwrap();
    assert_eq!((report.confirmed, report.unconfirmed), (3, 0));
    assert_eq!(fleet.device(0, &BLOCKS), 3);
}

#[test]
fn cleared_with_the_rank_but_not_by_a_resync() {
    let fleet = fleet();
    let booking = fleet.book(0, &prompt(&BLOCKS, 0), 0);
    fleet.state.clear_cache(fleet.ids[0]);
    assert_eq!(fleet.overlap(0, &BLOCKS).pending, 3);
    fleet.state.apply(fleet.ids[0], &CacheEvent::Cleared, Millis(0));
    assert_eq!(fleet.overlap(0, &BLOCKS).pending, 0);
    booking.finish(Millis(0));
    fleet.assert_idle();
    assert_eq!(fleet.state.index_stats().blocks, 0);
}

#[test]
fn too_many_unconfirmed_count_for_nothing_until_they_come_true() {
    let config = StateConfig { unconfirmed_sample: 3, ..StateConfig::default() };
    let fleet = Fleet::new(1, config);
    fleet.book(0, &prompt(&BLOCKS, 0), 0).finish(Millis(0));
    fleet.state.advance(Millis(2000));
    assert!(fleet.state.pending_report(fleet.ids[0]).unwrap().weight_zeroed);
    let first = fleet.book(0, &prompt(&BLOCKS, 0), 2000);
    assert_eq!(fleet.overlap(0, &BLOCKS).pending, 0);
    let second = fleet.book(0, &prompt(&BLOCKS, 0), 2000);
    assert_eq!(fleet.prefill(0), 96, "each computes for itself");
    drop(first);
    assert_eq!(fleet.prefill(0), 48, "nothing is inherited twice");
    fleet.store(0, None, &STORED, Device);
    assert!(!fleet.state.pending_report(fleet.ids[0]).unwrap().weight_zeroed);
    drop(second);
    fleet.assert_idle();
}

#[test]
fn the_grace_is_twice_what_the_events_of_owners_are_late() {
    let fleet = fleet();
    assert_eq!(grace_ms(&fleet), 2000, "nothing is known");
    let owner = fleet.book(0, &prompt(&BLOCKS, 0), 0);
    let queued = fleet.book(0, &prompt(&BLOCKS, 0), 0);
    owner.first_output(Millis(100));
    store_at(&fleet, &STORED[..2], 300);
    assert_eq!(grace_ms(&fleet), 2000, "its last block is still to come");
    fleet.state.apply(fleet.ids[0], &stored(Some(12), &STORED[2..], Device), Millis(400));
    assert_eq!(grace_ms(&fleet), 600, "by the owner, not by who waited for it");
    drop((owner, queued));
}

#[test]
fn an_event_before_the_output_is_not_late_and_one_before_a_whole_answer_says_nothing() {
    let fleet = fleet();
    let (first, second) = (prompt(&BLOCKS, 0), prompt(&[5], 0));
    let whole = PlacementRequest { streamed: false, ..request(&first) };
    let booking = fleet.book_request(0, &whole, 0);
    store_at(&fleet, &STORED, 50);
    booking.finish(Millis(5000));
    assert_eq!(grace_ms(&fleet), 2000);
    let booking = fleet.book_request(0, &PlacementRequest { prompt: Some(&second), ..whole }, 6000);
    booking.finish(Millis(6100));
    store_at(&fleet, &[(15, 5)], 6400);
    assert_eq!(grace_ms(&fleet), 600, "from its end");

    let fleet = Fleet::new(1, StateConfig::default());
    let booking = fleet.book(0, &prompt(&BLOCKS, 0), 0);
    store_at(&fleet, &STORED, 50);
    assert_eq!(grace_ms(&fleet), 100, "the shortest");
    drop(booking);
}

#[test]
fn a_grace_that_is_too_short_grows() {
    let fleet = fleet();
    late_by(&fleet, 60);
    assert_eq!(grace_ms(&fleet), 120);
    let mut now = 1000;
    for grown in [240, 480, 960, 1920, 2000, 2000] {
        fleet.book(0, &prompt(&BLOCKS, 0), now).finish(Millis(now));
        now += grace_ms(&fleet);
        fleet.state.advance(Millis(now));
        assert_eq!(grace_ms(&fleet), grown);
    }
}
