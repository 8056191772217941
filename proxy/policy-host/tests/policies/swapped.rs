//! Policies that are replaced while they decide.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use rankwise_core::ids::Millis;
use rankwise_core::policy::Decision;
use rankwise_policy_host::{Activation, PolicyLane, PolicySlot, Serving, ThreadPolicies};

use super::guests::*;

#[test]
fn after_publishing_only_the_new_one_answers() {
    const SWAPS: u32 = 40;
    // Every thread may hold the current and a previous one, each of which keeps its spares, and drops come later.
    let host = host_with(|config| config.instances_max = 128);
    let compiled = [host.compile("a", &always(0)).unwrap(), host.compile("b", &always(1)).unwrap()];
    let slot = PolicySlot::new(Some(activate(&host, &compiled[0]).unwrap()));
    let (stop, picks) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _stopped = Stop(&stop);
        for _ in 0..3 {
            scope.spawn(|| {
                let mut policies = ThreadPolicies::new();
                while !stop.load(Ordering::Relaxed) {
                    let current = slot.current();
                    let activation = current.activation().unwrap();
                    let decision = pick(&mut policies, activation, 7).unwrap();
                    let expected = if activation.version().name == "a" { 0 } else { 1 };
                    assert_eq!(decision, Decision::Rank(expected));
                    assert!(policies.len() <= 3, "{}", policies.len());
                    picks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut mine = ThreadPolicies::new();
        for swap in 1..=SWAPS {
            let next = (swap % 2) as usize;
            slot.publish(activate(&host, &compiled[next]).unwrap());
            let current = slot.current();
            let decision = pick(&mut mine, current.activation().unwrap(), 0).unwrap();
            assert_eq!(decision, Decision::Rank(next as u32));
            let before = picks.load(Ordering::Relaxed);
            wait_until("a pick after the swap", || picks.load(Ordering::Relaxed) > before);
        }
    });
}

/// Ends the threads also when an assertion fails, which would else wait for them.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_nobody_uses_is_dropped() {
    let host = host();
    let compiled = host.compile("a", &always(1)).unwrap();
    let slot = PolicySlot::default();
    let mut policies = ThreadPolicies::new();
    let mut old: Vec<Weak<Activation>> = Vec::new();
    for _ in 0..6 {
        let activation = activate(&host, &compiled).unwrap();
        old.push(Arc::downgrade(&activation));
        slot.publish(activation);
        pick(&mut policies, slot.current().activation().unwrap(), 0).unwrap();
    }
    policies.sweep();
    // The one in force and the one before it.
    assert_eq!(policies.len(), 2);
    wait_until("four dropped", || old[..4].iter().all(|activation| activation.strong_count() == 0));
    assert!(old[4].upgrade().is_some());
    slot.clear();
    drop(policies);
    wait_until("all dropped", || old.iter().all(|activation| activation.strong_count() == 0));
    drop(slot);
}

#[test]
fn a_thread_holds_a_bounded_number_of_instances() {
    let host = host_with(|config| config.thread_instances_max = 3);
    let compiled = host.compile("a", &always(1)).unwrap();
    let slots: Vec<_> = (0..5).map(|_| PolicySlot::new(Some(activate(&host, &compiled).unwrap()))).collect();
    let mut policies = ThreadPolicies::new();
    for _ in 0..2 {
        for slot in &slots {
            pick(&mut policies, slot.current().activation().unwrap(), 0).unwrap();
            assert!(policies.len() <= 3);
        }
    }
}

#[test]
fn a_failing_policy_gives_way_to_the_last_good_one_and_then_to_the_built_in_one() {
    let host = host();
    let [first, second] = [active(&host, &always(0)), active(&host, &always(1))];
    let lane = PolicyLane::new(2);
    assert_eq!(lane.serving(), Serving::BuiltIn);
    lane.activate(Arc::clone(&first));
    lane.activate(Arc::clone(&second));
    let now = Millis(1000);
    let deciding = || lane.current().activation().map(|activation| activation.id());
    for _ in 0..4 {
        assert_eq!(lane.record(&second, now, true), None);
    }
    assert_eq!(lane.record(&second, now, true), Some(Serving::LastGood));
    assert_eq!(deciding(), Some(first.id()));
    // Late failures of the one that is out change nothing.
    assert_eq!(lane.trip(&second, now), Serving::LastGood);
    for _ in 0..4 {
        assert_eq!(lane.record(&first, now, true), None);
    }
    assert_eq!(lane.record(&first, now, true), Some(Serving::BuiltIn));
    assert_eq!(deciding(), None);
    assert!(!lane.retry(Millis(60_999)));
    assert!(lane.retry(Millis(61_000)));
    assert_eq!((deciding(), lane.serving()), (Some(second.id()), Serving::Chosen));
    assert_eq!(second.window().counts(Millis(61_000)), (0, 0));
}

#[test]
fn while_a_policy_rests_the_one_before_decides_if_it_is_good() {
    let host = host();
    let [first, second] = [active(&host, &always(0)), active(&host, &always(1))];
    let lane = PolicyLane::new(2);
    lane.activate(Arc::clone(&first));
    let now = Millis(1000);
    let deciding = |now| lane.deciding(now).activation().map(|activation| activation.id());
    // None before it: it is what is in force, and says itself that it rests.
    first.window().rest(now);
    assert_eq!(deciding(now), Some(first.id()));
    lane.activate(Arc::clone(&second));
    second.window().rest(now);
    assert_eq!(deciding(now), Some(first.id()));
    assert_eq!(lane.serving(), Serving::Chosen);
    assert_eq!(deciding(Millis(60_000)), Some(second.id()));
    for _ in 0..5 {
        lane.record(&first, now, true);
    }
    assert_eq!(deciding(now), Some(second.id()));
    assert_eq!(lane.serving(), Serving::Chosen);
    lane.clear();
    assert_eq!(deciding(now), None);
}

#[test]
fn rollback_goes_back_one_by_one() {
    let host = host();
    let compiled = host.compile("a", &always(0)).unwrap();
    let activations: Vec<_> = (0..4).map(|_| activate(&host, &compiled).unwrap()).collect();
    let lane = PolicyLane::new(2);
    for activation in &activations {
        lane.activate(Arc::clone(activation));
    }
    // Activating what is chosen already adds nothing to go back to.
    lane.activate(Arc::clone(&activations[3]));
    let rolled = || lane.rollback().map(|activation| activation.id());
    assert_eq!(rolled(), Some(activations[2].id()));
    assert_eq!(rolled(), Some(activations[1].id()));
    // The oldest was forgotten.
    assert_eq!(rolled(), None);
    assert_eq!(lane.chosen().unwrap().id(), activations[1].id());
    lane.clear();
    assert!(lane.current().activation().is_none());
}
