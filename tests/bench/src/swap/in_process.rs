//! What only the calling thread can tell: the pick that meets a new policy, the cut of one that never comes back, and
//! picks that are preempted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rankwise_core::policy::PolicyRequest;
use rankwise_measure::cpu::thread_cpu;
use rankwise_measure::samples::Samples;
use rankwise_policy_host::{
    Activation, HostConfig, PolicyFailure, PolicyHost, PolicySlot, PoolInfo, Smoke, SmokeTable,
    ThreadPolicies,
};
use serde_json::json;

use crate::{component, targets};

/// Prints its figures; the healthy picks that failed.
pub(super) fn run(swaps: usize, runaways: u64, preempted: Duration) -> anyhow::Result<u64> {
    let host = PolicyHost::new(HostConfig::default())?;
    let adopt = adopt(&host, swaps)?;
    targets::print("swap_adopt_us", adopt.p50() / 1e3, "us");
    targets::print("swap_adopt_p99_us", adopt.p99() / 1e3, "us");
    let cut = cut(&host, runaways)?;
    targets::print("runaway_cut_cpu_ms", cut.p50() / 1e6, "ms");
    targets::print("runaway_cut_cpu_max_ms", cut.max() / 1e6, "ms");
    preempt(&host, preempted)
}

fn activate(host: &PolicyHost, name: &str, wasm: &[u8]) -> anyhow::Result<Arc<Activation>> {
    let pool = PoolInfo { model: "m".to_owned(), block_size: 16 };
    let compiled = host.compile(name, wasm)?;
    Ok(host.activate(&compiled, &pool, &json!({}), &Smoke::example(), 1)?)
}

fn pick(
    policies: &mut ThreadPolicies,
    activation: &Arc<Activation>,
    sequence: u64,
) -> Result<(), PolicyFailure> {
    let request = PolicyRequest { sequence, ..Smoke::example().request };
    let table = SmokeTable::example(activation.needs());
    policies.pick(activation, &request, table.rows, &table.columns, |_| true).map(drop)
}

/// How much longer than its neighbours the first pick of a new policy takes.
fn adopt(host: &PolicyHost, swaps: usize) -> anyhow::Result<Samples> {
    let kv = component::kv(None)?;
    let versions = [component::renumbered(&kv, 0), component::renumbered(&kv, 1)];
    let slot = PolicySlot::new(None);
    let mut policies = ThreadPolicies::new();
    let (mut firsts, mut others) = (Vec::with_capacity(swaps), Samples::default());
    let mut timed = |current: &PolicySlot| -> anyhow::Result<Duration> {
        let current = current.current();
        let activation = current.activation().context("nothing is published")?;
        let (request, table) = (Smoke::example().request, SmokeTable::example(activation.needs()));
        let start = Instant::now();
        policies.pick(activation, &request, table.rows, &table.columns, |_| true)?;
        Ok(start.elapsed())
    };
    for swap in 0..=swaps {
        slot.publish(activate(host, "adopt", &versions[swap % 2])?);
        firsts.push(timed(&slot)?);
        for _ in 0..50 {
            others.push(timed(&slot)?);
        }
    }
    let usual = Duration::from_nanos(others.p50() as u64);
    let mut extra = Samples::default();
    // The very first one had nothing to replace.
    firsts.into_iter().skip(1).for_each(|first| extra.push(first.saturating_sub(usual)));
    Ok(extra)
}

/// CPU time of calls that never come back.
fn cut(host: &PolicyHost, runaways: u64) -> anyhow::Result<Samples> {
    let activation = activate(host, "runaway", &component::runaway()?)?;
    let mut policies = ThreadPolicies::new();
    let mut cut = Samples::default();
    for call in 0..runaways {
        pick(&mut policies, &activation, 2 * call)?;
        let before = thread_cpu();
        let outcome = pick(&mut policies, &activation, 2 * call + 1);
        cut.push(thread_cpu() - before);
        ensure!(matches!(outcome, Err(PolicyFailure::Deadline(_))), "a loop ended otherwise: {outcome:?}");
    }
    Ok(cut)
}

/// Picks of a healthy policy beside twice as many busy threads as there are CPUs; those that failed.
fn preempt(host: &PolicyHost, duration: Duration) -> anyhow::Result<u64> {
    let activation = activate(host, "preempted", &component::renumbered(&component::kv(None)?, 2))?;
    let busy = 2 * std::thread::available_parallelism()?.get();
    let stop = AtomicBool::new(false);
    let (mut picks, mut failed) = (0u64, 0u64);
    std::thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                let mut spins = 0u64;
                while !stop.load(Relaxed) {
                    spins = std::hint::black_box(spins + 1);
                }
            });
        }
        let mut policies = ThreadPolicies::new();
        let start = Instant::now();
        while start.elapsed() < duration {
            failed += u64::from(pick(&mut policies, &activation, picks).is_err());
            picks += 1;
        }
        stop.store(true, Relaxed);
    });
    println!("# {picks} picks preempted by {busy} busy threads, {failed} of them failed");
    Ok(failed)
}
