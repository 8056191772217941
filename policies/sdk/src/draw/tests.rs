use super::*;

#[test]
fn splitmix64_is_the_published_one() {
    // Reference values of splitmix64 for seed 1234567.
    let mut draw = Draw::new(1_234_567);
    assert_eq!(draw.bits(), 6_457_827_717_110_365_317);
    assert_eq!(draw.bits(), 3_203_168_211_198_807_973);
}

#[test]
fn below_is_uniform_over_consecutive_seeds() {
    let mut counts = [0_u32; 7];
    for seed in 0..70_000 {
        counts[Draw::new(seed).below(7) as usize] += 1;
    }
    assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
}

#[test]
fn unit_stays_below_one() {
    assert!((0..10_000).map(|seed| Draw::new(seed).unit()).all(|unit| (0.0..1.0).contains(&unit)));
}

#[test]
fn softmax_covers_the_unit_interval_by_odds() {
    let costs = [1.0, 2.0, f64::INFINITY, 3.0];
    let odds = [1.0, (-0.5_f64 / 0.5).exp(), 0.0, (-1.0_f64 / 0.5).exp()];
    let sum: f64 = odds.iter().sum();
    let mut counts = [0.0; 4];
    for step in 0..100_000 {
        counts[softmax(&costs, 0.5, f64::from(step) / 100_000.0).unwrap() as usize] += 1.0 / 100_000.0;
    }
    for (row, count) in counts.into_iter().enumerate() {
        assert!((count - odds[row] / sum).abs() < 2e-5, "row {row}: {count}");
    }
}

#[test]
fn softmax_of_equal_costs_is_uniform() {
    assert_eq!(softmax(&[5.0; 4], 1.0, 0.1), Some(0));
    assert_eq!(softmax(&[5.0; 4], 1.0, 0.6), Some(2));
    assert_eq!(softmax(&[5.0; 4], 1.0, 0.999), Some(3));
}

#[test]
fn softmax_of_nothing_finite_is_none() {
    assert_eq!(softmax(&[], 1.0, 0.5), None);
    assert_eq!(softmax(&[f64::INFINITY, f64::NAN], 1.0, 0.5), None);
}
