use super::*;
use crate::Draw;

#[test]
fn the_least_wherever_it_stands() {
    for length in 1..40 {
        for place in 0..length {
            let mut values = vec![7_u32; length];
            values[place] = 3;
            assert_eq!(least(&values), Some(3), "{place} of {length}");
        }
    }
    assert_eq!(least::<u32>(&[]), None);
}

#[test]
fn what_is_no_number_never_wins() {
    let mut draw = Draw::new(1);
    for _ in 0..1000 {
        let values: Vec<f64> =
            (0..20).map(|_| if draw.below(2) == 0 { f64::NAN } else { draw.unit() }).collect();
        let expected = values.iter().copied().filter(|value| !value.is_nan()).reduce(f64::min);
        assert_eq!(least(&values), expected, "{values:?}");
    }
    assert_eq!(least(&[f64::NAN; 9]), None);
}
