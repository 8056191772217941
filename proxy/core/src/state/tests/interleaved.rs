//! Feeds, a booking and readers in every order that shuttle comes upon: `.ci/shuttle`.

use std::sync::Arc;

use shuttle::thread;

use super::fleet::{Fleet, SIZE, prompt, request, stored};
use crate::event::Tier::Device;
use crate::event::{CacheEvent, CacheGroup};
use crate::hash::EngineHash;
use crate::ids::Millis;
use crate::index::BLOCKS_AT_ONCE;
use crate::snapshot::Overlaps;
use crate::state::StateConfig;

/// Longer than two steps.
const LONG: u64 = 300;
const STEP: u32 = BLOCKS_AT_ONCE as u32;
const SHORT: u64 = 40;

fn chain(first: u64, blocks: u64) -> Vec<(u64, u64)> {
    (0..blocks).map(|n| (first + n, n + 1)).collect()
}

fn readers_beside_writers() {
    let fleet = Arc::new(Fleet::new(2, StateConfig::default()));
    let contents: Vec<u64> = (1..=LONG).collect();
    // Nobody touches what this one holds.
    fleet.store(2, None, &chain(5000, SHORT), Device);
    let feed = |at: usize, events: Vec<CacheEvent>| {
        let fleet = Arc::clone(&fleet);
        thread::spawn(move || {
            let applied = fleet.state.apply_batch(fleet.ids[at], &events, Millis(0));
            assert_eq!((applied.unknown_parent, applied.unknown_removals), (false, 0));
        })
    };
    let tail: Vec<_> = (200..LONG).rev().map(|n| EngineHash(1000 + n)).collect();
    let removed = CacheEvent::Removed { blocks: tail, tier: Device, group: CacheGroup(0) };
    let again = stored(Some(1199), &chain(1000, LONG)[200..250], Device);
    let mut threads = vec![
        feed(0, vec![stored(None, &chain(1000, LONG), Device), removed, again]),
        feed(1, vec![stored(None, &chain(3000, LONG), Device), CacheEvent::Cleared]),
    ];
    let booker = Arc::clone(&fleet);
    threads.push(thread::spawn(move || {
        let blocks: Vec<u64> = (1..=LONG + 9).collect();
        let prompt = prompt(&blocks, 3);
        let booking = booker.book_request(3, &request(&prompt), 0);
        assert_eq!(booker.state.load(booker.ids[3]).unwrap().pending_blocks, LONG as u32 + 9);
        booking.fail_before_send(Millis(0));
    }));
    let reader = Arc::clone(&fleet);
    threads.push(thread::spawn(move || {
        let prompt = prompt(&contents, 0);
        let mut found = Overlaps::default();
        for _ in 0..3 {
            reader.state.overlaps(&prompt, SIZE, &mut found);
            let device = found.device();
            assert_eq!(device[2], SHORT as u32);
            assert!(device[0] <= LONG as u32 && device[1] <= LONG as u32 && device[3] == 0, "{device:?}");
            // A store's steps end where they are cut, a removal's too.
            assert!(device[0] >= 200 || device[0].is_multiple_of(STEP), "{device:?}");
        }
    }));
    for thread in threads {
        thread.join().unwrap();
    }
    let mut found = Overlaps::default();
    let contents: Vec<u64> = (1..=LONG).collect();
    fleet.state.overlaps(&prompt(&contents, 0), SIZE, &mut found);
    assert_eq!(found.device(), [250, 0, SHORT as u32, 0]);
    fleet.assert_idle();
    assert_eq!(fleet.state.index_stats().blocks, 250);
    assert!(fleet.state.inner.read().index.bytes_are_right());
}

#[test]
fn readers_see_whole_steps_and_nothing_is_lost() {
    shuttle::check_random(readers_beside_writers, 2_000);
    shuttle::check_pct(readers_beside_writers, 2_000, 3);
}
