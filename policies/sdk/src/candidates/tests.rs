use super::*;
use crate::{Needs, RanksBuilder};

fn all(rows: usize) -> Candidates {
    Candidates::all(&RanksBuilder::new(rows).build(&Needs::default()))
}

fn counts(rows: usize, pick: impl Fn(&mut Draw) -> Option<u32>) -> Vec<u32> {
    let mut counts = vec![0; rows];
    for seed in 0..60_000 {
        counts[pick(&mut Draw::new(seed)).unwrap() as usize] += 1;
    }
    counts
}

fn assert_about(counts: &[u32], expected: &[u32]) {
    let near = |(count, expected): (&u32, &u32)| count.abs_diff(*expected) <= 300 + expected / 20;
    assert!(counts.iter().zip(expected).all(near), "{counts:?} instead of {expected:?}");
}

#[test]
fn a_hard_filter_may_leave_nothing_and_a_soft_one_does_not() {
    assert_eq!(all(5).keep(|row| row % 2 == 1).rows(), [1, 3]);
    assert!(all(5).keep(|_| false).is_empty());
    assert_eq!(all(5).prefer(|row| row > 2).rows(), [3, 4]);
    assert_eq!(all(3).prefer(|_| false).rows(), [0, 1, 2]);
    assert_eq!(all(3).keep(|_| false).any(&mut Draw::new(1)), None);
    assert_eq!(all(3).keep(|_| false).best_of(2, &mut Draw::new(1), |_| 0), None);
}

#[test]
fn the_least_are_those_that_are_equal() {
    let costs = [4.0, 1.0, f64::NAN, 1.0];
    assert_eq!(all(4).least(|row| costs[row]).rows(), [1, 3]);
    assert_eq!(all(4).least(|_| f64::NAN).rows(), [0, 1, 2, 3]);
}

#[test]
fn any_is_even() {
    let some = all(6).keep(|row| row != 2);
    assert_about(&counts(6, |draw| some.any(draw)), &[12_000, 12_000, 0, 12_000, 12_000, 12_000]);
}

#[test]
fn the_better_of_two_different_rows() {
    // Of 10 pairs of 5 rows the best is in 4, the next in 3 without it, and so on; the worst never wins.
    let picked = counts(5, |draw| all(5).best_of(2, draw, |row| row));
    assert_about(&picked, &[24_000, 18_000, 12_000, 6_000, 0]);
    assert_about(&counts(5, |draw| all(5).best_of(1, draw, |row| row)), &[12_000; 5]);
    assert_about(&counts(5, |draw| all(5).best_of(99, draw, |row| row)), &[60_000, 0, 0, 0, 0]);
    assert_about(&counts(4, |draw| all(4).best_of(2, draw, |_| 0)), &[15_000; 4]);
}
