//! Policies that fail while they decide.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use rankwise_core::policy::Decision;
use rankwise_policy_host::{FailureKind, PolicyFailure, ThreadPolicies};
use rustix::time::{ClockId, clock_gettime};

use super::guests::*;

const OK: Result<Decision, PolicyFailure> = Ok(Decision::Rank(1));

/// What a call is taken to have run before its first tick, where it may have run for no time at all.
const HALF_A_TICK: Duration = Duration::from_micros(450);

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_loop_is_cut_and_the_next_pick_works() {
    let activation = active(&host(), &odd("(loop $again (br $again))"));
    let mut policies = ThreadPolicies::new();
    for round in 0..5 {
        assert_eq!(pick(&mut policies, &activation, 2 * round), OK);
        let before = cpu();
        let failure = pick(&mut policies, &activation, 2 * round + 1).unwrap_err();
        let used = cpu() - before;
        assert_eq!(failure.kind(), FailureKind::Deadline);
        assert!(used >= Duration::from_millis(2) - HALF_A_TICK, "{used:?}");
        // The budget and two ticks are 4 ms; ticks come late on a machine that has other work.
        assert!(used < Duration::from_millis(50), "{used:?}");
    }
    assert_eq!(pick(&mut policies, &activation, 0), OK);
}

#[test]
fn the_cpu_budget_is_the_configs() {
    let host = host_with(|config| config.cpu_budget = Duration::from_millis(20));
    let activation = active(&host, &odd("(loop $again (br $again))"));
    let before = cpu();
    let failure = pick(&mut ThreadPolicies::new(), &activation, 1).unwrap_err();
    assert_eq!(failure, PolicyFailure::Deadline(Duration::from_millis(20)));
    let used = cpu() - before;
    assert!(used >= Duration::from_millis(20) - HALF_A_TICK, "{used:?}");
}

#[test]
fn a_loop_in_configure_is_cut() {
    let host = host_with(|config| config.configure_cpu_budget = Duration::from_millis(5));
    let configure = r#"(func (export "configure") (param i32 i32 i32 i32 i32) (result i32) (loop $again (br $again)) unreachable)"#;
    let wasm = policy_with(configure, "unreachable");
    assert_eq!(refusal(&host, &wasm), "policy test@1: configure: took more than 5000 us of cpu time");
}

#[test]
fn a_trap_costs_one_pick() {
    let activation = active(&host(), &odd("unreachable"));
    let mut policies = ThreadPolicies::new();
    for round in 0..20 {
        assert_eq!(pick(&mut policies, &activation, 2 * round), OK);
        assert_eq!(pick(&mut policies, &activation, 2 * round + 1).unwrap_err().kind(), FailureKind::Trap);
    }
}

#[test]
fn an_answer_outside_the_table_leaves_the_instance_alone() {
    let activation = active(&host(), &odd("(return (call $rank (i32.const 999)))"));
    let mut policies = ThreadPolicies::new();
    let ready = activation.instances_ready();
    for round in 0..3 {
        assert_eq!(pick(&mut policies, &activation, 2 * round), OK);
        let failure = pick(&mut policies, &activation, 2 * round + 1).unwrap_err();
        assert_eq!(failure, PolicyFailure::BadAnswer("row 999 of 4".into()));
    }
    assert_eq!(activation.instances_ready(), ready - 1);
}

#[test]
fn a_leak_ends_at_the_cap() {
    let host = host_with(|config| config.memory_bytes_max = 4 << 20);
    // Everything there is, in one call.
    let leak = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable";
    let activation = active(&host, &odd(leak));
    let mut policies = ThreadPolicies::new();
    for round in 0..10 {
        assert_eq!(pick(&mut policies, &activation, 2 * round), OK);
        let failure = pick(&mut policies, &activation, 2 * round + 1).unwrap_err();
        assert_eq!(failure, PolicyFailure::Memory(4 << 20));
    }
}

#[test]
fn a_slow_leak_never_fails_a_pick() {
    let host = host_with(|config| config.memory_bytes_max = 4 << 20);
    // 64 KiB per pick, and a trap when there is no more: 200 picks are three instances' worth.
    let leak = "(if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable)) (call $rank (i32.const 1))";
    let activation = active(&host, &policy(leak));
    let mut policies = ThreadPolicies::new();
    for sequence in 0..200 {
        assert_eq!(pick(&mut policies, &activation, sequence), OK);
    }
}

#[test]
fn spares_are_made_again_off_the_thread() {
    // No instance may be made by the thread that asks.
    let host = host_with(|config| config.inline_cost_max = Duration::ZERO);
    let activation = active(&host, &odd("unreachable"));
    let mut policies = ThreadPolicies::new();
    let start = Instant::now();
    let mut good = 0;
    // One and two spares were there; ten more can only come from the maker.
    while good < 13 {
        assert!(start.elapsed() < Duration::from_secs(30), "{good} spares");
        match pick(&mut policies, &activation, 0) {
            Ok(_) => {
                good += 1;
                assert_eq!(pick(&mut policies, &activation, 1).unwrap_err().kind(), FailureKind::Trap);
            }
            Err(failure) => {
                assert_eq!(failure.kind(), FailureKind::Instantiate);
                std::thread::yield_now();
            }
        }
    }
}

#[test]
fn the_hosts_threads_end_with_it() {
    let host = host();
    let activation = active(&host, &always(1));
    let mut policies = ThreadPolicies::new();
    assert_eq!(pick(&mut policies, &activation, 0), OK);
    let (done, ended) = mpsc::channel();
    // Dropping joins the threads; in this order the maker itself may be the last to hold the host.
    std::thread::spawn(move || {
        drop(host);
        drop(activation);
        drop(policies);
        done.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(30)).unwrap();
}
