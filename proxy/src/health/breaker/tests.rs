use super::*;

const WINDOW: u64 = 10_000;

fn at(ms: u64) -> Millis {
    Millis(ms)
}

/// One that proved itself at 0, after a failure.
fn proven() -> Breaker {
    let mut breaker = Breaker::new(BreakerSettings { window_ms: WINDOW, failures_min: 5 }, at(0));
    assert_eq!((breaker.out(), breaker.due()), (Some((Failure::Unproven, at(0))), Some(at(0))));
    breaker.proven(at(0));
    assert!(breaker.failed(Failure::Broken, at(0), || false), "one that is new has nothing to its credit");
    breaker.proven(at(0));
    breaker
}

#[test]
fn the_first_failure_takes_it_out_and_a_proof_brings_it_back() {
    let mut breaker = proven();
    let now = at(WINDOW);
    assert!(breaker.failed(Failure::ServerError, now, || false));
    assert_eq!((breaker.out(), breaker.due()), (Some((Failure::ServerError, now)), Some(now)));
    assert!(!breaker.failed(Failure::Broken, now, || false), "it is out already");
    breaker.proven(at(WINDOW + 5));
    assert_eq!((breaker.out(), breaker.due()), (None, None));
}

#[test]
fn after_a_proof_single_failures_are_the_requests_own() {
    let mut breaker = proven();
    for _ in 0..4 {
        assert!(!breaker.failed(Failure::ServerError, at(1), || false));
    }
    assert!(breaker.failed(Failure::ServerError, at(1), || false), "five are too many");
    assert!(breaker.due().is_some_and(|due| due > at(1)), "a proof at once would say no more");

    let mut breaker = proven();
    (0..10).for_each(|_| breaker.answered(at(1)));
    for _ in 0..9 {
        assert!(!breaker.failed(Failure::ServerError, at(1), || false), "fewer than are answered");
    }
    assert!(breaker.failed(Failure::ServerError, at(1), || false));
}

#[test]
fn what_no_request_can_be_blamed_for_takes_it_out_all_the_same() {
    for why in [Failure::EventsClosed, Failure::Unreachable] {
        let mut breaker = proven();
        assert!(breaker.failed(why, at(1), || false), "{why:?}");
        assert_eq!((breaker.out(), breaker.due()), (Some((why, at(1))), Some(at(1))));
    }
}

#[test]
fn pauses_between_bad_proofs_double_within_bounds() {
    let mut breaker = proven();
    assert!(breaker.failed(Failure::Silent, at(WINDOW), || false));
    let mut now = WINDOW;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert!(!breaker.unproven(Failure::Unproven, at(now), || false));
        let due = breaker.due().expect("it is out");
        pauses.push(due.0 - now);
        now = due.0;
    }
    assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
    breaker.proven(at(now));
    assert!(breaker.failed(Failure::Silent, at(now + WINDOW), || false));
    assert_eq!(breaker.due(), Some(at(now + WINDOW)), "another trouble begins anew");
}

#[test]
fn the_last_of_a_pool_stays_and_is_doubted() {
    let mut breaker = proven();
    assert!(!breaker.failed(Failure::Broken, at(WINDOW), || true));
    assert_eq!((breaker.out(), breaker.due()), (None, Some(at(WINDOW))));
    assert!(!breaker.unproven(Failure::Unproven, at(WINDOW), || true));
    assert!(breaker.out().is_none() && breaker.due().is_some_and(|due| due > at(WINDOW)));
    assert!(breaker.unproven(Failure::Unproven, at(WINDOW), || false), "another may be picked by now");
}

#[test]
fn one_that_is_doubted_serves_until_its_proof() {
    let mut breaker = proven();
    breaker.doubt(at(7));
    assert_eq!(breaker.due(), None, "it has just proven itself");
    breaker.doubt(at(5_000));
    breaker.doubt(at(5_002));
    assert_eq!((breaker.out(), breaker.due()), (None, Some(at(5_000))));
    breaker.proven(at(5_003));
    assert_eq!(breaker.due(), None);
}
