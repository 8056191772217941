use super::*;
use crate::Draw;

fn room(factor: f64, at_least: u32, running: &[u32]) -> Vec<bool> {
    let weights = vec![1000; running.len()];
    let bound = LoadBound::new(factor, at_least, running, &weights);
    (0..running.len()).map(|row| bound.has_room(row)).collect()
}

#[test]
fn a_row_beyond_its_share_has_none() {
    // 1.25 * (20 + 1) / 4, rounded up: 7.
    assert_eq!(room(1.25, 0, &[9, 7, 4, 0]), [false, false, true, true]);
    assert_eq!(room(1.25, 8, &[9, 7, 4, 0]), [false, true, true, true]);
    assert_eq!(room(2.0, 0, &[9, 7, 4, 0]), [true; 4]);
}

#[test]
fn the_share_follows_the_weight() {
    let (running, weights) = ([6, 6], [1500, 500]);
    let bound = LoadBound::new(1.0, 0, &running, &weights);
    assert!(bound.has_room(0), "10 of 13");
    assert!(!bound.has_room(1), "4 of 13");
}

#[test]
fn somebody_always_has_room() {
    let mut draw = Draw::new(3);
    for _ in 0..2000 {
        let rows = 1 + draw.below(9) as usize;
        let running: Vec<u32> = (0..rows).map(|_| draw.below(12)).collect();
        let weights: Vec<u32> = (0..rows).map(|_| 1 + draw.below(2000)).collect();
        let bound = LoadBound::new(1.0, 0, &running, &weights);
        assert!((0..rows).any(|row| bound.has_room(row)), "{running:?} {weights:?}");
    }
}
