use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

fn window() -> FailureWindow {
    FailureWindow::new(FailureThresholds::default())
}

#[test]
fn four_failures_are_borne_and_the_fifth_trips_once() {
    let window = window();
    for i in 0..4 {
        assert!(!window.record(Millis(i), true));
        assert!(!window.tripped(Millis(i)));
    }
    assert!(window.record(Millis(4), true));
    assert!(window.tripped(Millis(4)));
    assert!(!window.record(Millis(5), true));
}

#[test]
fn rests_become_longer_with_failures_and_end_with_an_activation() {
    let window = window();
    let mut now = 0;
    for (failures, rest) in [(0, 200), (1, 400), (2, 800), (3, 800)] {
        assert!(!window.rests(Millis(now)));
        assert_eq!(window.counts(Millis(now)).1, failures);
        window.rest(Millis(now));
        window.record(Millis(now), true);
        assert!(window.rests(Millis(now + rest - 1)));
        now += rest;
    }
    window.rest(Millis(now));
    window.rearm();
    assert!(!window.rests(Millis(now)));
    // The window is over, and all is forgotten.
    window.rest(Millis(now + 20_000));
    assert!(!window.rests(Millis(now + 20_200)));
}

#[test]
fn one_percent_is_needed_as_well() {
    let window = window();
    for _ in 0..1000 {
        window.record(Millis(0), false);
    }
    // 10 of 1010 is just under one percent, 11 of 1011 over.
    for i in 1..=10 {
        assert!(!window.record(Millis(i), true), "{i}");
    }
    assert!(window.record(Millis(11), true));
}

#[test]
fn failures_are_forgotten_after_the_window() {
    let window = window();
    for _ in 0..4 {
        window.record(Millis(500), true);
    }
    assert_eq!(window.counts(Millis(9_999)), (4, 4));
    assert_eq!(window.counts(Millis(10_000)), (0, 0));
    assert!(!window.record(Millis(10_500), true));
    assert_eq!(window.counts(Millis(10_500)), (1, 1));
}

#[test]
fn it_is_armed_again_after_a_minute_or_by_hand() {
    let window = window();
    let trip = |at| (0..5).any(|_| window.record(Millis(at), true));
    assert!(trip(0));
    assert!(window.tripped(Millis(59_999)));
    assert!(!window.tripped(Millis(60_000)));
    assert!(trip(60_000));
    assert!(window.tripped(Millis(60_001)));
    window.rearm();
    assert!(!window.tripped(Millis(60_001)));
    assert_eq!(window.counts(Millis(60_001)), (0, 0));
}

#[test]
fn all_threads_count() {
    let window = window();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..5000 {
                    window.record(Millis(100), i % 1000 == 0);
                }
            });
        }
    });
    assert_eq!(window.counts(Millis(100)), (20_000, 20));
    assert!(!window.tripped(Millis(100)));
}

proptest! {
    /// Against a list of everything that happened.
    #[test]
    fn counts_agree_with_a_naive_list(steps in prop::collection::vec((0u64..3000, any::<bool>()), 1..200)) {
        let window = window();
        let mut seen: VecDeque<(u64, bool)> = VecDeque::new();
        let mut now = 0;
        for (pause, failed) in steps {
            now += pause;
            window.record(Millis(now), failed);
            seen.push_back((now / 1000, failed));
            seen.retain(|&(second, _)| now / 1000 - second < 10);
            let failures = seen.iter().filter(|(_, failed)| *failed).count() as u64;
            prop_assert_eq!(window.counts(Millis(now)), (seen.len() as u64, failures));
        }
    }
}
