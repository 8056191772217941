use super::*;
use crate::{Column, Needs, RanksBuilder};

#[test]
fn terms_add_up() {
    let ranks = RanksBuilder::new(3)
        .set(Column::Running, &[1, 2, 3])
        .set(Column::Weight, &[1000, 500, 0])
        .build(&Needs::columns(&[Column::Running, Column::Weight]));
    let costs = Costs::zero(&ranks)
        .add(10.0, ranks.column(Column::Running))
        .add_by(|row| row as f64)
        .per_weight(ranks.column(Column::Weight));
    assert_eq!(costs.as_slice(), [10.0, 42.0, 32_000.0]);
    assert_eq!(costs.exclude(|row| row == 0).minimum(), Some(42.0));
}

#[test]
fn close_rows_are_candidates() {
    let costs = Costs::from(vec![5.0, 4.0, f64::NAN, 4.5, 4.0, f64::INFINITY]);
    assert_eq!(costs.within(0.0).rows(), [1, 4]);
    assert_eq!(costs.within(1.0).rows(), [1, 3, 4], "5 is a whole 1 more");
    assert!((0..50).all(|seed| matches!(costs.least(&mut Draw::new(seed)), Some(1 | 4))));
}

#[test]
fn without_a_finite_cost_there_is_no_pick() {
    for costs in [vec![f64::INFINITY; 3], vec![f64::NAN; 3], vec![]] {
        let costs = Costs::from(costs);
        assert_eq!(costs.minimum(), None);
        assert_eq!(costs.least(&mut Draw::new(1)), None);
        assert_eq!(costs.softmax(1.0, &mut Draw::new(1)), None);
    }
}
