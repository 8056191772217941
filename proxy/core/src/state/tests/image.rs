//! What a target holds, kept and brought back elsewhere.

use super::fleet::{Fleet, prompt, request, spec, stored};
use crate::event::Tier::{Device, Host};
use crate::hash::EngineHash;
use crate::ids::{BlockSize, Millis, TargetId};
use crate::snapshot::Overlap;
use crate::state::StateConfig;

const CHAIN: [(u64, u64); 5] = [(11, 1), (12, 2), (13, 3), (14, 4), (15, 5)];

/// A rank with a hole, a branch, two tiers, copies, and a block of two names.
fn odd() -> Fleet {
    let fleet = Fleet::new(1, StateConfig::default());
    fleet.store(0, None, &CHAIN, Device);
    fleet.store(0, None, &CHAIN[..2], Host);
    fleet.store(0, Some(12), &[(26, 6), (27, 7)], Device);
    fleet.store(0, Some(11), &[(99, 2)], Device);
    fleet.store(0, Some(13), &CHAIN[3..], Device);
    fleet.remove(0, &[13], Device);
    fleet
}

#[test]
fn everything_is_brought_back_into_another_process() {
    let before = odd();
    let image = before.state.image(before.ids[0]).unwrap();
    let after = Fleet::new(2, StateConfig::default());
    // The trie has another shape here.
    after.store(3, None, &[(1, 1), (2, 2)], Device);
    after.store(3, None, &[(1, 1), (2, 2), (3, 3)], Host);
    assert!(after.state.restore(after.ids[1], &image, Millis(0)));
    let known = |fleet: &Fleet, id: TargetId| {
        let mut blocks = fleet.state.dump(id, 100);
        blocks.sort_unstable();
        blocks
    };
    assert_eq!(known(&after, after.ids[1]), known(&before, before.ids[0]));
    for prompt in [&[1, 2, 3, 4, 5][..], &[1, 2, 6, 7], &[1, 2, 3]] {
        assert_eq!(after.overlap(1, prompt), before.overlap(0, prompt));
    }
    // It goes on as it would have.
    for (fleet, at) in [(&before, 0), (&after, 1)] {
        fleet.store(at, Some(12), &[(13, 3)], Device);
        fleet.remove(at, &[12], Device);
        fleet.remove(at, &[15], Device);
        let all = Overlap { device: 5, ..Overlap::default() };
        assert_eq!(fleet.overlap(at, &[1, 2, 3, 4, 5]), all, "another name, another copy");
    }
    after.state.clear_cache(after.ids[1]);
    after.state.clear_cache(after.ids[3]);
    let stats = after.state.index_stats();
    assert_eq!((stats.blocks, stats.entries, stats.names), (0, 0, 0));
}

#[test]
fn what_does_not_fit_is_not_restored() {
    let fleet = odd();
    let image = fleet.state.image(fleet.ids[0]).unwrap();
    assert!(!fleet.state.restore(fleet.ids[0], &image, Millis(0)), "not empty");
    let other = fleet.state.add_target(spec(7, 0, BlockSize(32))).id;
    assert!(!fleet.state.restore(other, &image, Millis(0)), "another block size");
    assert!(!fleet.state.restore(TargetId(99), &image, Millis(0)));
    assert_eq!(fleet.state.cached_blocks(other), 0);
    assert!(fleet.state.image(TargetId(99)).is_none());
}

#[test]
fn a_restored_block_is_pending_no_more() {
    let before = odd();
    let image = before.state.image(before.ids[0]).unwrap();
    let after = Fleet::new(1, StateConfig::default());
    let booking = after.book(0, &prompt(&[1, 2, 8], 0), 0);
    after.state.restore(after.ids[0], &image, Millis(0));
    assert_eq!(after.state.load(after.ids[0]).unwrap().pending_blocks, 1);
    assert_eq!(after.overlap(0, &[1, 2, 8]), Overlap { device: 2, pending: 1, ..Overlap::default() });
    booking.finish(Millis(0));
}

#[test]
fn what_the_cap_has_cut_is_no_image() {
    let fleet = Fleet::new(1, StateConfig { index_blocks_max: 8, ..StateConfig::default() });
    let blocks: Vec<_> = (0..20).map(|n| (n + 100, n)).collect();
    fleet.store(0, None, &blocks, Device);
    assert!(fleet.state.image(fleet.ids[0]).is_none());
    // Nor is there room for one that is larger.
    let large = Fleet::new(1, StateConfig::default());
    large.store(0, None, &blocks, Device);
    let image = large.state.image(large.ids[0]).unwrap();
    assert!(fleet.state.restore(fleet.ids[1], &image, Millis(0)));
    assert!(fleet.state.index_stats().names <= 8);
}

#[test]
fn an_image_is_of_one_moment() {
    let fleet = odd();
    let apply = |engine| {
        let event = stored(None, &[(engine, engine)], Device);
        fleet.state.apply(fleet.ids[0], &event, Millis(0));
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1000..3000).for_each(apply));
        while !writer.is_finished() {
            if let Some(image) = fleet.state.image(fleet.ids[0]) {
                // Blocks come one after the other, so all those before the last are there.
                let names = image.runs.iter().flat_map(|run| &run.names);
                let last = names.clone().filter(|name| name.0 >= 1000).max();
                let count = names.filter(|name| name.0 >= 1000).count() as u64;
                assert_eq!(last.map_or(0, |EngineHash(last)| last - 999), count);
            }
        }
    });
    let contents: Vec<u64> = vec![1, 2];
    assert_eq!(fleet.snapshot(&request(&prompt(&contents, 0))).rows()[0].overlap.device, 2);
}
