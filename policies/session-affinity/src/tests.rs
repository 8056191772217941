use rankwise_policy::testing::{always, shares};

use super::*;

fn policy(settings: &str) -> SessionAffinity {
    let settings = rankwise_policy::parse_settings(settings).unwrap();
    SessionAffinity::configure(&Pool::default(), settings).unwrap()
}

fn session_on(row: u64) -> Request {
    Request::default().with_fact(Fact::SessionKey, 77).with_fact(Fact::SessionRow, row + 1)
}

fn new_session(key: u64) -> Request {
    Request::default().with_fact(Fact::SessionKey, key)
}

#[test]
fn a_session_stays_though_others_are_idle() {
    let table = RanksBuilder::new(4).set(Column::Running, &[0, 0, 3, 0]);
    assert_eq!(always(&policy("{}"), &session_on(2), &table), Some(2));
}

#[test]
fn it_leaves_a_rank_that_runs_more_than_its_share() {
    // Of 24 + 1 in flight the share is 6.25, half as much again 9.4: at most 10.
    let table = RanksBuilder::new(4).set(Column::Running, &[4, 5, 10, 5]);
    assert_eq!(always(&policy("{}"), &session_on(2), &table), Some(0));
    assert_eq!(always(&policy(r#"{"spill_factor":2}"#), &session_on(2), &table), Some(2));
    assert_eq!(always(&policy(r#"{"spill_running_min":11}"#), &session_on(2), &table), Some(2));
}

#[test]
fn a_new_one_begins_where_least_is_going_on() {
    let table =
        RanksBuilder::new(3).set(Column::Running, &[2, 1, 1]).set(Column::PrefillTokens, &[0, 50, 40]);
    assert_eq!(always(&policy("{}"), &new_session(5), &table), Some(2));
    assert_eq!(always(&policy("{}"), &Request::default(), &table), Some(2), "so does a request without one");
}

#[test]
fn by_hash_it_begins_where_every_replica_sends_it() {
    let policy = policy(r#"{"first":"hash"}"#);
    let table = RanksBuilder::new(4);
    let homes: Vec<_> = (1..=100).map(|key| always(&policy, &new_session(key), &table).unwrap()).collect();
    assert!((0..4).all(|row| homes.iter().filter(|&&home| home == row).count() > 10), "{homes:?}");
    let busy = table.set(Column::Running, &[9, 4, 4, 4]);
    assert!((1..=100).all(|key| always(&policy, &new_session(key), &busy).unwrap() != 0));
    let no_session = shares(&policy, &Request::default(), &RanksBuilder::new(2), 1000);
    assert!(no_session.iter().all(|&share| share > 400), "{no_session:?}");
}

#[test]
fn a_row_that_is_not_there_is_no_home() {
    let table = RanksBuilder::new(2).set(Column::Running, &[1, 0]);
    assert_eq!(always(&policy("{}"), &session_on(99), &table), Some(1));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let settings = Settings { spill_factor: 0.5, ..Settings::default() };
    let error = SessionAffinity::configure(&Pool::default(), settings).unwrap_err();
    assert!(error.starts_with("spill_factor: "), "{error}");
    assert!(rankwise_policy::parse_settings::<Settings>(r#"{"first":"coldest"}"#).is_err());
}
