use rankwise_policy::testing::{always, shares};

use super::*;

fn policy(settings: &str) -> PowerOfTwo {
    let settings = rankwise_policy::parse_settings(settings).unwrap();
    PowerOfTwo::configure(&Pool::default(), settings).unwrap()
}

#[test]
fn idle_ranks_share_evenly() {
    let shares = shares(&policy("{}"), &Request::default(), &RanksBuilder::new(8), 80_000);
    assert!(shares.iter().all(|share| (9_500..10_500).contains(share)), "{shares:?}");
}

#[test]
fn the_busiest_is_never_picked_and_the_idlest_not_by_all() {
    let table = RanksBuilder::new(4).set(Column::Running, &[0, 3, 5, 9]);
    let shares = shares(&policy("{}"), &Request::default(), &table, 60_000);
    assert_eq!(shares[3], 0);
    assert!((29_000..31_000).contains(&shares[0]), "in half of the pairs: {shares:?}");
}

#[test]
fn then_fewer_tokens_to_prefill_and_a_heavier_rank_bears_more() {
    let request = Request::default();
    let table = RanksBuilder::new(2).set(Column::PrefillTokens, &[9, 8]);
    assert_eq!(always(&policy("{}"), &request, &table), Some(1));
    let table = RanksBuilder::new(2).set(Column::Running, &[4, 6]).set(Column::Weight, &[500, 1000]);
    assert_eq!(always(&policy("{}"), &request, &table), Some(1));
    assert_eq!(always(&policy("{}"), &request, &table.set(Column::Running, &[0, 0])), Some(1));
}

#[test]
fn the_number_of_choices_is_a_setting() {
    let table = RanksBuilder::new(4).set(Column::Running, &[2, 1, 0, 3]);
    assert_eq!(always(&policy(r#"{"choices":4}"#), &Request::default(), &table), Some(2));
    assert_eq!(always(&policy("{}"), &Request::default(), &RanksBuilder::new(1)), Some(0));
    let zero = PowerOfTwo::configure(&Pool::default(), Settings { choices: 0 });
    assert_eq!(zero.unwrap_err(), "choices: must be at least 1");
}
