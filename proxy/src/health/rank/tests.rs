use rankwise_core::ids::{BlockSize, DpRank, GroupId, TargetId, WorkerId};
use rankwise_core::target::{Phases, TargetSpec};

use super::*;

fn rank() -> RankHealth {
    let spec = TargetSpec {
        worker: WorkerId(0),
        rank: DpRank(0),
        group: GroupId(0),
        key: 0,
        block_size: BlockSize(16),
        capacity_blocks: 0,
        pinnable: true,
        phases: Phases::WHOLE,
    };
    let settings = HealthSettings {
        prove_ranks: true,
        proof_timeout: Duration::ZERO,
        window: Duration::from_secs(10),
        failures_min: 5,
        slow_start: Duration::from_secs(10),
    };
    RankHealth::new(
        Arc::new(Target::new(TargetId(0), spec)),
        2000,
        Condition::NOT_PINNABLE,
        &settings,
        Millis(0),
    )
}

fn shown(rank: &RankHealth) -> (Availability, u32) {
    (rank.target.health.availability(), rank.target.health.weight_permille())
}

const TOLD: Proof = Proof { pin: Some(true), events: Some(true), cached_tokens: true };

#[test]
fn it_is_in_when_its_worker_is_ready_and_it_has_proven_itself() {
    let rank = rank();
    assert_eq!(shown(&rank), (Availability::Starting, 2000));
    assert_eq!(rank.next(Millis(0)), Next::Prove);
    rank.proven(TOLD, Millis(3));
    assert_eq!(shown(&rank).0, Availability::Starting);
    rank.worker_is(Availability::Ready, false, Millis(5));
    assert_eq!(shown(&rank), (Availability::Ready, 2000));
    assert_eq!(rank.target.condition(Millis(0)).0 & !Condition::UNTRUSTED.0, Condition::NOT_PINNABLE.0);
    rank.worker_is(Availability::Draining, false, Millis(6));
    rank.worker_is(Availability::Ready, false, Millis(7));
    assert_eq!(shown(&rank).0, Availability::Draining, "for good");
}

#[test]
fn one_that_comes_back_comes_to_its_share_over_time() {
    let rank = rank();
    rank.proven(TOLD, Millis(0));
    rank.worker_is(Availability::Ready, true, Millis(0));
    let mut weights = Vec::new();
    for second in [0, 5, 9, 10] {
        rank.next(Millis(second * 1000));
        weights.push(shown(&rank).1);
        let slow = rank.target.condition(Millis(0)).has(Condition::SLOW_START);
        assert_eq!(slow, second < 10);
    }
    assert_eq!(weights, [200, 1100, 1820, 2000]);

    // A moment's doubt costs it nothing, a longer one does.
    for (began, out, share) in [(100_000, 20, 2000), (200_000, 2000, 200)] {
        assert!(rank.failed(Failure::Broken, Millis(began), || false));
        assert_eq!(shown(&rank).0, Availability::Unhealthy);
        rank.proven(TOLD, Millis(began + out));
        assert_eq!(shown(&rank), (Availability::Ready, share));
    }
}

#[test]
fn one_whose_events_tell_nothing_is_not_trusted_and_asked_again() {
    let rank = rank();
    rank.target.feed.set_trusted(true);
    rank.proven(Proof { events: Some(false), ..TOLD }, Millis(0));
    assert!(rank.target.condition(Millis(0)).has(Condition::UNTRUSTED));
    assert_ne!(rank.next(Millis(0)), Next::Prove, "not at once");
    assert_eq!(rank.next(Millis(1000)), Next::Prove);
    rank.proven(TOLD, Millis(1000));
    assert!(!rank.target.condition(Millis(0)).has(Condition::UNTRUSTED));
}
