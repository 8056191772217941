use std::sync::Arc;

#[cfg(not(shuttle))]
use std::thread;

#[cfg(shuttle)]
use shuttle::thread;

use super::Turns;

const STEPS: u32 = if cfg!(shuttle) { 3 } else { 20_000 };

/// Two writers take a turn each, of so many steps, beside two readers.
fn steps_are_whole_and_turns_are_not_mixed() {
    // How many steps were taken, twice, and by whom.
    let turns = Arc::new(Turns::new((0, 0, Vec::new())));
    let writers = (1..=2).map(|writer| {
        let turns = Arc::clone(&turns);
        thread::spawn(move || {
            let mut turn = turns.write();
            for _ in 0..STEPS {
                let before = turn.look().0;
                turn.step(|(first, second, writers)| {
                    assert_eq!(*first, before, "nobody else writes");
                    *first += 1;
                    writers.push(writer);
                    *second += 1;
                });
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let readers = (0..2).map(|_| {
        let turns = Arc::clone(&turns);
        thread::spawn(move || {
            let mut last = 0;
            while last < 2 * STEPS {
                let value = turns.read();
                assert!(value.0 == value.1 && value.2.len() == value.0 as usize, "a step is whole");
                assert!(last <= value.0);
                last = value.0;
                if cfg!(shuttle) {
                    break;
                }
            }
        })
    });
    let readers: Vec<_> = readers.collect();
    for thread in writers.into_iter().chain(readers) {
        thread.join().unwrap();
    }
    let value = turns.read();
    assert_eq!(value.0, 2 * STEPS);
    assert_eq!(value.2.chunk_by(|one, other| one == other).count(), 2);
}

#[cfg(not(shuttle))]
#[test]
fn threads() {
    steps_are_whole_and_turns_are_not_mixed();
}

#[cfg(shuttle)]
#[test]
fn shuttled() {
    shuttle::check_random(steps_are_whole_and_turns_are_not_mixed, 20_000);
    shuttle::check_pct(steps_are_whole_and_turns_are_not_mixed, 20_000, 3);
}
