//! Conditional booking under contention.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::fleet::{Fleet, prompt, request};
use crate::ids::Millis;
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
