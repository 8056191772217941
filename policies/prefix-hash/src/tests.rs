use rankwise_policy::testing::{always, shares};

use super::*;

fn policy(settings: &str) -> PrefixHash {
    let settings = rankwise_policy::parse_settings(settings).unwrap();
    PrefixHash::configure(&Pool::default(), settings).unwrap()
}

fn prefix(key: u64) -> Request {
    Request::default().with_fact(Fact::PrefixKey, key)
}

/// Where a prefix goes.
fn home(key: u64, table: &RanksBuilder) -> usize {
    always(&policy("{}"), &prefix(key), table).expect("the seed has no say") as usize
}

#[test]
fn prompts_that_begin_alike_meet_and_others_spread() {
    let table = RanksBuilder::new(8);
    let mut counts = [0; 8];
    for key in 1..=400 {
        counts[home(key, &table)] += 1;
    }
    assert!(counts.iter().all(|count| (25..80).contains(count)), "{counts:?}");
}

#[test]
fn a_full_rank_passes_the_prefix_on_to_one_other() {
    let table = RanksBuilder::new(4).set(Column::Running, &[4, 4, 4, 4]);
    let first = home(7, &table);
    let full = table.at(first, Column::Running, 9);
    let second = home(7, &full);
    assert_ne!(second, first);
    assert_eq!(home(7, &full.clone().at(first, Column::Running, 5)), first, "it comes back: 5 + 1 of 6");
    let others: Vec<_> = (1..100).filter(|&key| home(key, &full) == first).collect();
    assert!(others.is_empty(), "nobody goes to the full one: {others:?}");
}

#[test]
fn a_few_requests_are_no_load() {
    let table = RanksBuilder::new(8);
    let first = home(7, &table);
    assert_eq!(home(7, &table.clone().at(first, Column::Running, 1)), first);
    assert_ne!(home(7, &table.at(first, Column::Running, 2)), first);
}

#[test]
fn the_order_of_the_rows_does_not_matter() {
    let keys = [10, 20, 30, 40, 50];
    let mut turned = keys;
    turned.rotate_left(2);
    for key in 1..200 {
        let in_order = home(key, &RanksBuilder::new(5).set(Column::TargetKey, &keys));
        let rotated = home(key, &RanksBuilder::new(5).set(Column::TargetKey, &turned));
        assert_eq!(keys[in_order], turned[rotated]);
    }
}

#[test]
fn without_a_prompt_the_fewest_running() {
    let table = RanksBuilder::new(4).set(Column::Running, &[3, 1, 1, 2]);
    let shares = shares(&policy("{}"), &prefix(0), &table, 1000);
    assert!(shares[1] > 400 && shares[2] > 400 && shares[1] + shares[2] == 1000, "{shares:?}");
}

#[test]
fn a_bound_below_the_fair_share_is_refused() {
    for factor in ["0.9", "-1", "1e9"] {
        let settings = rankwise_policy::parse_settings(&format!(r#"{{"load_factor":{factor}}}"#)).unwrap();
        let error = PrefixHash::configure(&Pool::default(), settings).unwrap_err();
        assert!(error.starts_with("load_factor: "), "{error}");
    }
}
