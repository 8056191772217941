//! Rows without room.

use std::num::NonZeroU32;

use super::fleet::{Fleet, prompt, request, stored};
use crate::event::Tier::Device;
use crate::ids::Millis;
use crate::policy::{Column, Phase};
use crate::request::{PlacementRequest, Prompt};
use crate::snapshot::{NoRoom, RoomRule, Snapshot};
use crate::state::StateConfig;

/// Ranks of 100 blocks of 16 tokens.
fn fleet(workers: u32, room: RoomRule) -> Fleet {
    Fleet::new(workers, StateConfig { room, ..StateConfig::default() })
}

fn in_room(prompt: &Prompt) -> PlacementRequest<'_> {
    PlacementRequest { in_room: true, ..request(prompt) }
}

fn left_out(snapshot: &Snapshot) -> Vec<(u32, NoRoom)> {
    snapshot.without_room().map(|(target, why)| (target.spec.rank.0, why)).collect()
}

const BLOCKS: RoomRule =
    RoomRule { blocks: true, output_tokens_max: 160, long_prefill_tokens: None, long_prefills_max: 0 };

#[test]
fn what_does_not_fit_beside_what_runs_is_no_row() {
    let fleet = fleet(1, BLOCKS);
    let long: Vec<u64> = (0..60).collect();
    let running = fleet.book(0, &prompt(&long, 0), 0);
    let other = prompt(&(100..131).collect::<Vec<u64>>(), 0);
    // 31 blocks and 10 of output, of 40 that are free.
    let snapshot = fleet.snapshot(&in_room(&other));
    assert_eq!(left_out(&snapshot), [(0, NoRoom::Blocks)]);
    assert_eq!(snapshot.column(Column::DpRank).unwrap(), [1]);
    let short = PlacementRequest { max_output_tokens: Some(16), ..in_room(&other) };
    assert_eq!(fleet.snapshot(&short).rows().len(), 2, "32 fit");
    assert_eq!(fleet.snapshot(&in_room(&prompt(&long, 0))).rows().len(), 2, "it shares what is active");
    assert_eq!(fleet.snapshot(&request(&other)).rows().len(), 2, "it does not ask");
    drop(running);
    assert_eq!(left_out(&fleet.snapshot(&in_room(&other))), []);
}

#[test]
fn what_fits_nowhere_may_go_where_nothing_runs() {
    let fleet = fleet(1, BLOCKS);
    let huge = prompt(&(0..200).collect::<Vec<u64>>(), 0);
    assert_eq!(fleet.snapshot(&in_room(&huge)).rows().len(), 2);
    let running = fleet.book(1, &prompt(&[999], 0), 0);
    assert_eq!(left_out(&fleet.snapshot(&in_room(&huge))), [(1, NoRoom::Blocks)]);
    drop(running);
}

#[test]
fn a_group_computes_so_many_long_prompts_at_once() {
    let long_prefill_tokens = NonZeroU32::new(64);
    let rule = RoomRule { long_prefill_tokens, long_prefills_max: 1, ..RoomRule::default() };
    let fleet = fleet(2, rule);
    let (first, second) = (prompt(&[1, 2, 3, 4], 0), prompt(&[11, 12, 13, 14], 0));
    let booking = fleet.book(0, &first, 0);
    // The other group has none.
    let snapshot = fleet.snapshot(&in_room(&second));
    assert_eq!(left_out(&snapshot), [(0, NoRoom::LongPrefill), (1, NoRoom::LongPrefill)]);
    assert_eq!(snapshot.rows().len(), 2);
    assert_eq!(fleet.snapshot(&in_room(&prompt(&[11, 12, 13], 0))).rows().len(), 4, "it is short");
    assert_eq!(fleet.snapshot(&in_room(&first)).rows().len(), 3, "where it is pending little is left of it");
    let decode = PlacementRequest { phase: Phase::Decode, ..in_room(&second) };
    assert_eq!(fleet.snapshot(&decode).rows().len(), 4, "it computes nothing");
    fleet.state.apply(fleet.ids[1], &stored(None, &[(11, 11), (12, 12)], Device), Millis(0));
    assert_eq!(fleet.snapshot(&in_room(&second)).rows().len(), 3, "half of it is cached there");

    booking.first_output(Millis(1));
    assert_eq!(fleet.snapshot(&in_room(&second)).rows().len(), 4);
    drop(booking);
    // However it ends, it is not counted any more.
    drop(fleet.book(0, &second, 2));
    fleet.book(0, &second, 3).fail_before_send(Millis(3));
    let gone = fleet.book(2, &second, 4);
    fleet.state.restart_target(fleet.ids[2]);
    drop(gone);
    assert_eq!(fleet.snapshot(&in_room(&second)).rows().len(), 4);
}
