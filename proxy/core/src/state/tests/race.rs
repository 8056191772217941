//! Conditional booking under contention.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::fleet::{Fleet, prompt, request, stored};
use crate::event::Tier::Device;
use crate::event::{CacheEvent, CacheGroup};
use crate::hash::EngineHash;
use crate::ids::Millis;
use crate::snapshot::Overlaps;
use crate::state::{Choice, Raced, StateConfig};

const THREADS: u64 = 4;
const EACH: u64 = 200;

#[test]
fn of_bookings_on_one_snapshot_exactly_one_succeeds() {
    let fleet = Fleet::new(1, StateConfig::default());
    let prompt = prompt(&[1, 2], 1);
    let snapshot = fleet.snapshot(&request(&prompt));
    let won = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                match fleet.state.book(&snapshot, Choice::Row(0), &request(&prompt), false, Millis(0)) {
                    Ok(booking) => {
                        won.fetch_add(1, Relaxed);
                        booking.finish(Millis(0));
                    }
                    Err(raced) => assert_eq!(raced, Raced::Booked),
                }
            });
        }
    });
    assert_eq!(won.into_inner(), 1);
}

#[test]
fn every_booking_is_made_once_and_freed_once() {
    let fleet = Fleet::new(1, StateConfig::default());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let fleet = &fleet;
            scope.spawn(move || {
                for n in 0..EACH {
                    let prompt = prompt(&[n % 3, thread], 1);
                    let request = request(&prompt);
                    let row = Choice::Row((n % 2) as u32);
                    let booking = loop {
                        let snapshot = fleet.snapshot(&request);
                        match fleet.state.book(&snapshot, row, &request, false, Millis(n)) {
                            Ok(booking) => break booking,
                            Err(raced) => assert_eq!(raced, Raced::Booked),
                        }
                    };
                    booking.first_output(Millis(n));
                    booking.finish(Millis(n));
                }
            });
        }
    });
    fleet.state.advance(Millis(100_000));
    fleet.assert_idle();
    let epochs: u64 = fleet.ids.iter().map(|id| fleet.state.load(*id).unwrap().epoch).sum();
    assert_eq!(epochs, THREADS * EACH);
}

#[test]
fn readers_see_every_batch_whole() {
    let fleet = Fleet::new(8, StateConfig::default());
    let blocks: Vec<(u64, u64)> = (1..=40).map(|n| (100 + n, n)).collect();
    let contents: Vec<u64> = blocks.iter().map(|(_, content)| *content).collect();
    for at in 0..16 {
        fleet.store(at, None, &blocks, Device);
    }
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(1);
            for _ in 0..2000 {
                // From the middle or the end, and back again, with what is new behind it.
                let (at, from) = (random.usize(0..16), random.usize(1..40));
                let tier = Device;
                let gone = blocks[from..].iter().rev().map(|(engine, _)| EngineHash(*engine)).collect();
                let batch = [
                    CacheEvent::Removed { blocks: gone, tier, group: CacheGroup(0) },
                    stored(Some(blocks[from - 1].0), &blocks[from..], tier),
                    stored(Some(blocks[from - 1].0), &[(7, 70 + from as u64)], tier),
                    CacheEvent::Removed { blocks: vec![EngineHash(7)], tier, group: CacheGroup(0) },
                ];
                let applied = fleet.state.apply_batch(fleet.ids[at], &batch, Millis(0));
                assert_eq!((applied.unknown_parent, applied.unknown_removals), (false, 0));
            }
            written.store(true, Relaxed);
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let prompt = prompt(&contents, 0);
                let mut overlaps = Overlaps::default();
                while !written.load(Relaxed) {
                    fleet.state.overlaps(&prompt, super::fleet::SIZE, &mut overlaps);
                    assert_eq!(overlaps.device(), [40; 16]);
                }
            });
        }
    });
    assert_eq!(fleet.state.index_stats().blocks, 40);
}
