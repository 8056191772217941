//! Large policies: quick code first, better code as soon as there is some.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rankwise_core::policy::Decision;
use rankwise_policy_host::{FailureKind, ThreadPolicies, Tier};

use super::guests::*;

#[test]
fn instances_move_to_better_code_while_they_answer() {
    let host = host_with(|config| (config.baseline_bytes_min, config.instances_max) = (0, 64));
    let compiled = host.compile("a", &always(3)).unwrap();
    let activation = activate(&host, &compiled).unwrap();
    let (stop, picks) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let asked = (0..3).map(|_| {
            scope.spawn(|| {
                let mut policies = ThreadPolicies::new();
                while !stop.load(Ordering::Relaxed) || policies.tier(&activation) != Some(Tier::Optimized) {
                    assert_eq!(pick(&mut policies, &activation, 7).unwrap(), Decision::Rank(3));
                    assert_eq!(policies.len(), 1);
                    picks.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let asked: Vec<_> = asked.collect();
        wait_until("better code", || compiled.tier() == Tier::Optimized);
        stop.store(true, Ordering::Relaxed);
        // Each ends once it runs that code.
        asked.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert!(picks.load(Ordering::Relaxed) >= 3);
    wait_until("spares of better code", || activation.instances_ready() == host.config().spares);
    let mut late = ThreadPolicies::new();
    pick(&mut late, &activation, 0).unwrap();
    assert_eq!(late.tier(&activation), Some(Tier::Optimized));
}

#[test]
fn small_policies_are_compiled_once() {
    let host = host_with(|_| {});
    let compiled = host.compile("a", &always(0)).unwrap();
    assert_eq!(compiled.tier(), Tier::Optimized);
}

#[test]
fn both_compilers_code_is_cut_short() {
    let host = host_with(|config| config.baseline_bytes_min = 0);
    let compiled = host.compile("spin", &odd("(loop $again (br $again))")).unwrap();
    let activation = activate(&host, &compiled).unwrap();
    let mut policies = ThreadPolicies::new();
    for at_least in [Tier::Baseline, Tier::Optimized] {
        wait_until("better code", || compiled.tier() >= at_least);
        let failure = pick(&mut policies, &activation, 1).unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Deadline, "{failure}");
        assert_eq!(pick(&mut policies, &activation, 2).unwrap(), Decision::Rank(1));
    }
}
