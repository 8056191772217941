//! Load: booked, shown, freed.

use super::fleet::{Fleet, SIZE, SPACE, prompt, request, spec};
use crate::event::Tier::Device;
use crate::hash::{BlockHash, Chain};
use crate::ids::{BlockSize, Millis, WorkerId};
use crate::policy::{Column, UNKNOWN};
use crate::request::PlacementRequest;
use crate::state::{Choice, Raced, StateConfig};

#[test]
fn a_worker_booking_shows_on_each_rank() {
    let fleet = Fleet::new(2, StateConfig::default());
    let request = PlacementRequest { prompt_tokens_estimate: 33, ..PlacementRequest::default() };
    let snapshot = fleet.snapshot(&request);
    let book = |force| fleet.state.book(&snapshot, Choice::Worker(WorkerId(1)), &request, force, Millis(0));
    let booking = book(false).unwrap();
    assert_eq!(booking.target(), None);
    assert!(matches!(book(false), Err(Raced::Booked)));
    let seen = fleet.snapshot(&request);
    assert_eq!(seen.column(Column::PrefillTokens).unwrap(), [0, 0, 17, 17]);
    assert_eq!(seen.column(Column::ActiveBlocks).unwrap(), [0, 0, 2, 2]);
    assert_eq!(seen.column(Column::Running).unwrap(), [0, 0, 1, 1]);
    booking.first_output(Millis(1));
    assert_eq!(fleet.snapshot(&request).column(Column::PrefillTokens).unwrap(), [0; 4]);
    booking.finish(Millis(2));
    fleet.assert_idle();
}

#[test]
fn guards_are_harmless_after_a_restart_or_removal() {
    let fleet = Fleet::new(1, StateConfig::default());
    let prompt = prompt(&[1, 2], 3);
    let (restarted, removed) = (fleet.book(0, &prompt, 0), fleet.book(1, &prompt, 0));
    let before = fleet.snapshot(&request(&prompt));
    fleet.state.restart_target(fleet.ids[0]);
    fleet.state.remove_target(fleet.ids[1]);
    fleet.assert_idle();
    let kept = fleet.book(0, &prompt, 0);
    restarted.first_output(Millis(1));
    assert!(!restarted.is_live());
    restarted.finish(Millis(2));
    removed.finish(Millis(2));
    assert_eq!(fleet.prefill(0), 35, "the new booking is not touched by the old guard");
    let again =
        |row| fleet.state.book(&before, Choice::Row(row), &request(&prompt), row == 1, Millis(0)).map(|_| ());
    assert_eq!(again(0), Err(Raced::Booked));
    assert_eq!(again(1), Err(Raced::Gone), "force does not bring a target back");
    assert_eq!(again(9), Err(Raced::Gone));
    drop(kept);
    assert_eq!(fleet.state.index_stats().blocks, 0);
}

#[test]
fn bookings_are_void_and_the_cache_is_kept_where_a_feed_sees_to_it() {
    let fleet = Fleet::new(1, StateConfig::default());
    let prompt = prompt(&[1, 2], 3);
    let booking = fleet.book(0, &prompt, 0);
    fleet.store(0, None, &[(11, 1)], Device);
    fleet.state.void_bookings(fleet.ids[0]);
    assert!(!booking.is_live());
    assert_eq!((fleet.prefill(0), fleet.prefill(1)), (0, 0));
    assert_eq!(fleet.device(0, &[1, 2]), 1);
    fleet.state.restart_target(fleet.ids[0]);
    assert_eq!(fleet.device(0, &[1, 2]), 0);
}

#[test]
fn sequences_share_the_prompt_but_not_its_tail() {
    let fleet = Fleet::new(1, StateConfig { track_output_blocks: true, ..StateConfig::default() });
    let prompt = prompt(&[1, 2], 3);
    let request = PlacementRequest { sequences: 4, max_output_tokens: Some(32), ..request(&prompt) };
    let booking = fleet.book_request(0, &request, 0);
    let load = || fleet.state.load(fleet.ids[0]).unwrap();
    assert_eq!((load().running, load().active_blocks, load().prefill_tokens), (4, 2 + 4, 35));
    booking.add_output_tokens(4 * 14);
    assert_eq!(load().active_blocks, 2 + 4 * 2);
    booking.add_output_tokens(1000);
    assert_eq!(load().active_blocks, 2 + 4 * 3, "no more than the request allows");
    booking.set_output_tokens(4);
    assert_eq!(load().active_blocks, 2 + 4);
    drop(booking);
    fleet.assert_idle();
}

#[test]
fn not_streamed_counts_as_prefilled_by_the_measured_rate() {
    let fleet = Fleet::new(1, StateConfig::default());
    let (first, second) = (prompt(&[1], 4), prompt(&[8, 9], 8));
    let streamed = fleet.book(0, &first, 0);
    streamed.first_output(Millis(40));
    let request = PlacementRequest { streamed: false, ..request(&second) };
    let booking = fleet.book_request(0, &request, 100);
    fleet.state.advance(Millis(179));
    assert_eq!(fleet.prefill(0), 40);
    fleet.state.advance(Millis(180));
    assert!(booking.prefilled(), "40 tokens at 2 ms each");
    assert_eq!(fleet.prefill(0), 0);
}

#[test]
fn another_block_size_is_converted_by_tokens() {
    let fleet = Fleet::new(1, StateConfig::default());
    fleet.state.add_target(spec(5, 0, BlockSize(24)));
    let mut long = prompt(&[1, 2, 3], 24);
    let other = [71, 72, 73].map(BlockHash);
    long.blocks.push((BlockSize(24), Chain::new(SPACE, BlockSize(24), other)));
    let booking = fleet.book_request(2, &request(&long), 0);
    assert_eq!(booking.expected().prefill_tokens, 72);
    let seen = fleet.snapshot(&request(&long));
    assert_eq!(seen.rows()[2].overlap.pending, 3, "in its own blocks");
    assert_eq!(seen.column(Column::PendingOverlap).unwrap(), [0, 0, 4], "72 tokens, down");
    assert_eq!(seen.column(Column::ActiveBlocks).unwrap(), [0, 0, 5], "72 tokens, up");
    assert_eq!(seen.column(Column::CapacityBlocks).unwrap(), [100, 100, 150]);
    assert_eq!(seen.column(Column::FreeBlocks).unwrap(), [100, 100, 145]);
    assert_eq!(seen.column(Column::NewBlocks).unwrap(), [5, 5, 0]);
}

#[test]
fn peaks_count_ranks_that_cannot_be_picked() {
    let fleet = Fleet::new(2, StateConfig::default());
    let prompt = prompt(&[1, 2], 0);
    let busy = fleet.book(1, &prompt, 0);
    let mut snapshot = crate::snapshot::Snapshot::new();
    let columns = [Column::GroupPeakPrefill, Column::GroupPeakActive];
    let mut filter = |target: &crate::target::Target| target.spec.rank.0 == 0;
    fleet.state.snapshot(&request(&prompt), &columns, &mut filter, Millis(0), &mut snapshot);
    assert_eq!(snapshot.packed(), [32, 0, 2, 0]);
    drop(busy);
}

#[test]
fn unknown_capacity_is_unknown_room() {
    let fleet = Fleet::new(1, StateConfig::default());
    let mut unknown = spec(9, 0, SIZE);
    unknown.capacity_blocks = 0;
    fleet.state.add_target(unknown);
    assert_eq!(fleet.figure(2, &PlacementRequest::default(), Column::FreeBlocks), UNKNOWN);
}

#[test]
fn a_cached_prompt_still_costs_a_token() {
    let fleet = Fleet::new(1, StateConfig::default());
    fleet.store(0, None, &[(11, 1), (12, 2)], Device);
    let booking = fleet.book(0, &prompt(&[1, 2], 0), 0);
    assert_eq!((booking.expected().device_blocks, fleet.prefill(0)), (2, 1));
    drop(booking);
    fleet.assert_idle();
}

#[test]
fn the_ledger_returns_to_zero_in_any_order() {
    for seed in 0..50 {
        let fleet = Fleet::new(2, StateConfig::default());
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bookings = Vec::new();
        for _ in 0..40 {
            let blocks: Vec<u64> = (0..random.u64(0..6)).map(|_| random.u64(0..2)).collect();
            bookings.push(fleet.book(random.usize(0..4), &prompt(&blocks, random.u32(0..16)), 0));
        }
        random.shuffle(&mut bookings);
        for booking in bookings {
            match random.u8(0..4) {
                0 => booking.finish(Millis(1)),
                1 => booking.fail_before_send(Millis(1)),
                2 => booking.first_output(Millis(1)),
                _ => drop(booking),
            }
        }
        fleet.state.advance(Millis(5000));
        fleet.assert_idle();
        assert_eq!(fleet.state.index_stats().blocks, 0);
    }
}

#[test]
fn the_fallback_does_not_herd_on_an_idle_pool() {
    let fleet = Fleet::new(2, StateConfig::default());
    let prompt = prompt(&[1], 0);
    let busy = fleet.book(2, &prompt, 0);
    let snapshot = fleet.snapshot(&request(&prompt));
    let picks: Vec<_> =
        (0..6).filter_map(|sequence| crate::fallback::least_loaded(&snapshot, sequence)).collect();
    assert_eq!(picks, [0, 1, 3, 0, 1, 3]);
    drop(busy);
}
