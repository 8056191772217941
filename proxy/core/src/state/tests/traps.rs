//! The cases that index designs get wrong.

use super::fleet::{Fleet, prompt};
use crate::event::Tier::{Device, Disk, Host};
use crate::hash::EngineHash;
use crate::snapshot::Overlap;
use crate::state::StateConfig;

const CHAIN: [(u64, u64); 4] = [(11, 1), (12, 2), (13, 3), (14, 4)];

fn stored() -> Fleet {
    let fleet = Fleet::new(1, StateConfig::default());
    assert_eq!(fleet.store(0, None, &CHAIN, Device).stored, 4);
    fleet
}

#[test]
fn middle_block_removed_then_stored_again() {
    let fleet = stored();
    fleet.remove(0, &[12], Device);
    assert_eq!(fleet.device(0, &[1, 2, 3, 4]), 1);
    fleet.store(0, Some(11), &[(12, 2)], Device);
    assert_eq!(fleet.device(0, &[1, 2, 3, 4]), 4, "the tail was there all the time");
}

#[test]
fn tail_extended_by_a_parent_beyond_a_hole() {
    let fleet = stored();
    fleet.remove(0, &[12], Device);
    assert!(!fleet.store(0, Some(14), &[(15, 5)], Device).unknown_parent);
    assert_eq!(fleet.device(0, &[1, 2, 3, 4, 5]), 1);
    fleet.store(0, Some(11), &[(12, 2)], Device);
    assert_eq!(fleet.device(0, &[1, 2, 3, 4, 5]), 5);
}

#[test]
fn first_block_removed_and_returned() {
    let fleet = stored();
    fleet.remove(0, &[11], Device);
    assert_eq!(fleet.device(0, &[1, 2, 3, 4]), 0);
    fleet.store(0, None, &[(11, 1)], Device);
    assert_eq!(fleet.device(0, &[1, 2, 3, 4]), 4);
}

#[test]
fn two_ranks_name_the_same_tokens_by_different_hashes() {
    let fleet = stored();
    fleet.store(1, None, &[(91, 1), (92, 2)], Device);
    assert_eq!(fleet.remove(1, &[12], Device).unknown_removals, 1, "another rank's name");
    assert_eq!((fleet.device(0, &[1, 2, 3]), fleet.device(1, &[1, 2, 3])), (3, 2));
    fleet.remove(1, &[92], Device);
    assert_eq!((fleet.device(0, &[1, 2, 3]), fleet.device(1, &[1, 2, 3])), (3, 1));
}

#[test]
fn branches_at_the_same_depth_of_different_prefixes() {
    let fleet = Fleet::new(1, StateConfig::default());
    let store = |at, contents: &[u64]| {
        let names: Vec<_> =
            (1..).zip(contents).map(|(n, _)| contents[..n].iter().fold(0, |name, c| name * 64 + c)).collect();
        let blocks: Vec<_> = names.into_iter().zip(contents.iter().copied()).collect();
        fleet.store(at, None, &blocks, Device);
    };
    store(1, &[1, 2, 3, 4, 5, 6]);
    store(1, &[1, 2, 3, 4, 20]);
    store(0, &[1, 2, 7, 8, 9, 10]);
    store(0, &[1, 2, 7, 8, 30, 31]);
    let device = |contents: &[u64]| [fleet.device(0, contents), fleet.device(1, contents)];
    assert_eq!(device(&[1, 2, 7, 8, 30, 31]), [6, 2]);
    assert_eq!(device(&[1, 2, 3, 4, 20]), [2, 5]);
    assert_eq!(device(&[1, 2, 3, 4, 30, 31]), [2, 4]);
    assert_eq!(device(&[1, 2, 7, 8, 20]), [4, 2]);
}

#[test]
fn a_removal_naming_an_unknown_hash_first() {
    let fleet = stored();
    let applied = fleet.remove(0, &[99, 14, 13], Device);
    assert_eq!((applied.unknown_removals, applied.removed), (1, 2));
    assert_eq!(fleet.device(0, &[1, 2, 3, 4]), 2);
}

#[test]
fn a_block_that_is_reported_again_is_no_copy() {
    let fleet = stored();
    fleet.state.count_copies(fleet.ids[0], false);
    assert_eq!(fleet.store(0, None, &CHAIN, Device).duplicates, 4);
    fleet.state.count_copies(fleet.ids[0], true);
    fleet.store(0, None, &CHAIN[..1], Device);
    fleet.remove(0, &[14, 11], Device);
    assert_eq!(fleet.device(0, &[1, 2, 3, 4]), 3, "the first has a copy, the last had none");
}

#[test]
fn duplicate_stores_with_one_removal() {
    let fleet = stored();
    assert_eq!(fleet.store(0, None, &CHAIN, Device).duplicates, 4);
    fleet.remove(0, &[14], Device);
    assert_eq!(fleet.device(0, &[1, 2, 3, 4]), 4, "one copy is left");
    fleet.remove(0, &[14], Device);
    assert_eq!(fleet.device(0, &[1, 2, 3, 4]), 3);
}

#[test]
fn unknown_parent_applies_nothing() {
    let fleet = stored();
    let before = fleet.state.index_stats();
    assert!(fleet.store(0, Some(99), &[(15, 5)], Device).unknown_parent);
    assert_eq!(fleet.state.index_stats(), before);
}

#[test]
fn a_long_store_behind_an_unknown_parent_applies_nothing_either() {
    let fleet = stored();
    // Longer than a step, and every block bears a name that is known.
    let long: Vec<(u64, u64)> = (0..2000).map(|n| (11 + n % 4, n)).collect();
    let before = fleet.state.index_stats();
    assert!(fleet.store(0, Some(99), &long, Device).unknown_parent);
    assert_eq!(fleet.state.index_stats(), before);
    assert_eq!(fleet.device(0, &[1, 2, 3, 4]), 4);
}

#[test]
fn a_name_given_to_another_content() {
    let fleet = stored();
    fleet.store(0, Some(13), &[(14, 8)], Device);
    assert_eq!(fleet.device(0, &[1, 2, 3, 4]), 3);
    assert_eq!(fleet.device(0, &[1, 2, 3, 8]), 4);
}

#[test]
fn tiers_follow_each_other() {
    let fleet = stored();
    fleet.store(0, None, &CHAIN[..3], Host);
    fleet.store(0, None, &CHAIN, Disk);
    fleet.remove(0, &[12, 14], Device);
    let overlap = fleet.overlap(0, &[1, 2, 3, 4]);
    assert_eq!(overlap, Overlap { device: 1, host: 2, disk: 1, pending: 0 });
}

#[test]
fn the_cap_holds_and_says_so() {
    let fleet = Fleet::new(1, StateConfig { index_blocks_max: 100, ..StateConfig::default() });
    fleet.store(0, None, &[(1, 1), (2, 2)], Device);
    for n in 0..500 {
        fleet.device(0, &[1, 2]);
        fleet.store(0, Some(2), &[(1000 + n, 1000 + n)], Device);
        let stats = fleet.state.index_stats();
        assert!(stats.names <= 100 && stats.blocks <= 100, "{stats:?}");
    }
    let stats = fleet.state.index_stats();
    assert_eq!(stats.evicted, 502 - stats.names as u64);
    assert_eq!(fleet.device(0, &[1, 2]), 2, "what is continued stays");
    assert!(fleet.remove(0, &[999], Device).truncated);
    fleet.state.clear_cache(fleet.ids[0]);
    assert!(!fleet.remove(0, &[999], Device).truncated);
}

#[test]
fn memory_returns_to_its_baseline() {
    let fleet = Fleet::new(2, StateConfig::default());
    let baseline = fleet.state.index_stats();
    for at in 0..4 {
        let blocks: Vec<_> = (0..5000).map(|n| (n, n * 3 + at as u64 % 2)).collect();
        fleet.store(at, None, &blocks, Device);
    }
    assert_eq!(fleet.state.index_stats().names, 20_000);
    fleet.state.clear_cache(fleet.ids[0]);
    fleet.state.restart_target(fleet.ids[1]);
    fleet.state.remove_target(fleet.ids[2]);
    let engines: Vec<_> = fleet.state.dump(fleet.ids[3], 5000).iter().map(|block| block.engine).collect();
    for EngineHash(engine) in engines {
        fleet.remove(3, &[engine], Device);
    }
    fleet.state.clear_cache(fleet.ids[3]);
    assert_eq!(fleet.state.index_stats(), baseline);
}

#[test]
fn the_cap_leaves_what_live_bookings_contain() {
    let fleet = Fleet::new(1, StateConfig { index_blocks_max: 10, ..StateConfig::default() });
    let blocks: Vec<u64> = (0..50).collect();
    let booking = fleet.book(0, &prompt(&blocks, 0), 0);
    let stored: Vec<_> = blocks.iter().map(|block| (block + 100, *block)).collect();
    assert_eq!(fleet.store(0, None, &stored, Device).confirmed, 50);
    assert_eq!(fleet.device(0, &blocks), 50);
    drop(booking);
    assert!(fleet.store(0, None, &[(7, 777)], Device).evicted > 0);
    let stats = fleet.state.index_stats();
    assert!(stats.names <= 10 && stats.blocks <= 10, "{stats:?}");
    fleet.assert_idle();
}
