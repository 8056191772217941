//! The two legs of a request: prompt computed here, answer made there.

use super::fleet::{Fleet, prompt, request, stored};
use crate::event::Tier::Device;
use crate::ids::Millis;
use crate::policy::{Column, Phase};
use crate::request::{PlacementRequest, Prompt};
use crate::state::StateConfig;

const BLOCKS: [u64; 3] = [1, 2, 3];

fn decode(prompt: &Prompt) -> PlacementRequest<'_> {
    PlacementRequest { phase: Phase::Decode, ..request(prompt) }
}

#[test]
fn what_is_transferred_is_pending_and_active_and_not_to_be_computed() {
    let fleet = Fleet::new(1, StateConfig::default());
    let prompt = prompt(&BLOCKS, 4);
    let prefill = fleet.book_request(0, &PlacementRequest { phase: Phase::Prefill, ..request(&prompt) }, 0);
    let answer = fleet.book_request(1, &decode(&prompt), 0);
    assert_eq!((fleet.prefill(0), fleet.prefill(1)), (52, 0));
    assert_eq!(fleet.overlap(0, &BLOCKS).pending, 3);
    assert_eq!(fleet.overlap(1, &BLOCKS).pending, 3, "on their way there");
    assert_eq!(fleet.figure(1, &request(&prompt), Column::ActiveBlocks), 4);
    assert!(answer.prefilled());

    prefill.first_output(Millis(5));
    prefill.finish(Millis(5));
    assert_eq!((fleet.prefill(0), fleet.prefill(1)), (0, 0));
    fleet.state.apply(fleet.ids[1], &stored(None, &[(11, 1), (12, 2), (13, 3)], Device), Millis(6));
    assert_eq!((fleet.device(1, &BLOCKS), fleet.overlap(1, &BLOCKS).pending), (3, 0));
    answer.first_output(Millis(7));
    answer.finish(Millis(8));
    // The prefill's blocks are still waited for; nothing else is left.
    assert_eq!(fleet.figure(1, &request(&prompt), Column::ActiveBlocks), 0);
    fleet.state.advance(Millis(60_000));
    fleet.assert_idle();
}

#[test]
fn whoever_shares_blocks_that_do_not_arrive_computes_them() {
    let fleet = Fleet::new(1, StateConfig::default());
    let prompt = prompt(&BLOCKS, 4);
    let answer = fleet.book_request(0, &decode(&prompt), 0);
    let whole = fleet.book(0, &prompt, 0);
    assert_eq!(fleet.prefill(0), 4, "its tail: the rest is on its way");
    // Cancelled before a first output: nobody knows of anything that arrived.
    drop(answer);
    assert_eq!(fleet.prefill(0), 52);
    assert_eq!(fleet.overlap(0, &BLOCKS).pending, 3);
    drop(whole);
    fleet.assert_idle();
}

#[test]
fn the_time_of_a_transfer_says_nothing_of_how_fast_prompts_are_computed() {
    let fleet = Fleet::new(1, StateConfig::default());
    let prompt = prompt(&BLOCKS, 4);
    let answer = fleet.book_request(0, &decode(&prompt), 0);
    let busy = fleet.book(0, &prompt, 0);
    answer.first_output(Millis(1));
    answer.finish(Millis(1));
    // Not streamed: with a rate it would count as prefilled in time.
    let plain = PlacementRequest { streamed: false, ..request(&prompt) };
    let waiting = fleet.book_request(0, &plain, 2);
    fleet.state.advance(Millis(60_000));
    assert!(!waiting.prefilled());
    drop((busy, waiting));
}
