use super::*;

fn table(column: Column, values: &[u32]) -> Ranks {
    RanksBuilder::new(values.len()).set(column, values).build(&Needs::columns(&[Column::Weight, column]))
}

#[test]
fn columns_are_found_by_name() {
    let ranks = table(Column::Running, &[3, 4, 5]);
    assert_eq!(ranks.column(Column::Running), [3, 4, 5]);
    assert_eq!(ranks.column(Column::Weight), [1000; 3]);
}

#[test]
fn columns_come_in_the_order_asked() {
    let ranks = table(Column::Running, &[3, 4, 5]);
    let mut columns = ranks.in_order();
    assert_eq!(columns.next_column(), [1000; 3]);
    assert_eq!(columns.next_column(), [3, 4, 5]);
}

#[test]
#[should_panic]
fn more_columns_than_asked_for_are_a_mistake() {
    let ranks = table(Column::Running, &[3]);
    let mut columns = ranks.in_order();
    for _ in 0..3 {
        columns.next_column();
    }
}

#[test]
#[should_panic(expected = "not asked for")]
fn a_column_that_was_not_asked_for_is_a_mistake() {
    table(Column::Running, &[1]).column(Column::Group);
}

#[test]
fn empty_and_ragged_tables_are_refused() {
    let positions = Positions::of(&Needs::columns(&[Column::Worker]));
    assert!(Ranks::new(0, vec![], positions).is_err());
    assert!(Ranks::new(2, vec![1, 2, 3], positions).is_err());
    assert!(Ranks::new(2, vec![1, 2], positions).is_ok());
}

#[test]
fn each_worker_comes_once() {
    let ranks = table(Column::Worker, &[2, 2, 5, 9, 9, 9]);
    assert_eq!(ranks.workers().collect::<Vec<_>>(), [2, 5, 9]);
}

#[test]
fn argmin_takes_the_least() {
    let values = [7, 3, 9, 4];
    let ranks = table(Column::Running, &values);
    assert!((0..100).all(|seed| ranks.argmin(|row| values[row], seed) == 1));
}

#[test]
fn argmin_is_uniform_among_equals_and_only_those() {
    let values = [2, 1, 1, 3, 1, 1];
    let ranks = table(Column::Running, &values);
    let mut counts = [0; 6];
    for seed in 0..40_000 {
        counts[ranks.argmin(|row| values[row], seed) as usize] += 1;
    }
    assert_eq!((counts[0], counts[3]), (0, 0));
    assert!([1, 2, 4, 5].iter().all(|&row| (9_500..10_500).contains(&counts[row])), "{counts:?}");
}

#[test]
fn argmin_never_takes_an_undefined_cost_over_another() {
    let values = [f64::NAN, 5.0, f64::NAN, 4.0, f64::NAN];
    let ranks = table(Column::Running, &[0; 5]);
    assert!((0..100).all(|seed| ranks.argmin(|row| values[row], seed) == 3));
    assert!((0..100).all(|seed| ranks.argmin(|_| f64::NAN, seed) < 5));
}

#[test]
fn argmin_compares_tuples_in_order() {
    let (first, second) = ([1, 1, 2], [9, 8, 0]);
    let ranks = table(Column::Running, &[0; 3]);
    assert_eq!(ranks.argmin(|row| (first[row], second[row]), 3), 1);
}

#[test]
fn a_fleet_has_workers_with_ranks_of_their_own() {
    let needs =
        Needs::columns(&[Column::Worker, Column::DpRank, Column::Group, Column::TargetKey, Column::Weight]);
    let ranks = RanksBuilder::fleet(2, 3).at(4, Column::Weight, 500).build(&needs);
    assert_eq!(ranks.column(Column::Worker), [0, 0, 0, 1, 1, 1]);
    assert_eq!(ranks.column(Column::Group), ranks.column(Column::Worker));
    assert_eq!(ranks.column(Column::DpRank), [0, 1, 2, 0, 1, 2]);
    assert_eq!(ranks.column(Column::Weight), [1000, 1000, 1000, 1000, 500, 1000]);
    let mut keys = ranks.column(Column::TargetKey).to_vec();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 6);
}
