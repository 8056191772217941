use rankwise_policy::testing::{always, shares};

use super::*;

fn policy() -> Warmest {
    Warmest::configure(&Pool::default(), Settings::default()).unwrap()
}

#[test]
fn the_warmest_rank_wins() {
    let table = RanksBuilder::fleet(2, 4).at(5, Column::DeviceOverlap, 20);
    assert_eq!(always(&policy(), &Request::default(), &table), Some(5));
}

#[test]
fn unless_too_much_is_running_there() {
    let table = RanksBuilder::fleet(2, 4).at(5, Column::DeviceOverlap, 20).at(5, Column::Running, 3);
    assert_ne!(always(&policy(), &Request::default(), &table), Some(5));
}

#[test]
fn equal_ranks_share_evenly() {
    let shares = shares(&policy(), &Request::default(), &RanksBuilder::fleet(2, 4), 8_000);
    assert!(shares.iter().all(|share| (800..1_200).contains(share)), "{shares:?}");
}
