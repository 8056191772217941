//! Swaps of the real proxy's policy while clients ask.
//!
//! Two policies in turns, one of which always answers rank 0 and the other rank 1. A reply names the policy that decided
//! and the rank that it got; so a request that was decided by a policy out of its time, or by half of each, shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http::{Method, StatusCode};
use rankwise_measure::samples::Samples;
use rankwise_sim::{Fleet, FleetSpec};
use tokio::task::JoinSet;

use super::admin::{Admin, WITHIN};
use super::{CONNECTIONS, Options};
use crate::child::{self, Child};
use crate::http1::{Connection, Reply};
use crate::load::{CHAT, Prompt};
use crate::{component, targets};

/// Replies between two swaps.
const REPLIES: usize = 2 * CONNECTIONS;

/// In turns; the number is the rank that each answers.
const POLICIES: [&str; 2] = ["zero", "one"];

/// What clients saw, and what the swaps were.
#[derive(Default)]
struct Seen {
    /// Swaps that have been asked for, and those that have been answered.
    begun: AtomicUsize,
    returned: AtomicUsize,
    replies: AtomicUsize,
    failed: AtomicUsize,
    mixed: AtomicUsize,
    stop: AtomicBool,
}

/// Prints the figures; `preempted` are the false traps seen so far.
pub(super) async fn run(options: &Options, preempted: u64) -> anyhow::Result<()> {
    let binary = child::binary(options.binary.as_deref())?;
    let spec = FleetSpec { workers: 1, ranks: 2, speed: 10_000.0, ..FleetSpec::default() };
    let fleet = Fleet::start(spec).await.context("start the engines")?;
    let mut child = Child::start(&binary, &["--policy", "least-loaded", "--expose-decision"], &fleet).await?;
    let mut admin = Admin::open(child.admin, 2).await?;
    for (row, name) in (0..).zip(POLICIES) {
        admin.upload(name, component::always(row)?).await?;
    }
    let idle = uploads(&mut admin, 0..options.uploads).await?;
    admin.activate(POLICIES[0]).await?;

    let seen = Arc::new(Seen::default());
    let mut clients = JoinSet::new();
    for number in 0..CONNECTIONS {
        clients.spawn(ask(child.address, number, Arc::clone(&seen)));
    }
    let mut swaps = Samples::default();
    for swap in 1..=options.swaps {
        wait_for_replies(&seen, seen.replies.load(SeqCst) + REPLIES).await?;
        seen.begun.store(swap, SeqCst);
        let start = Instant::now();
        admin.activate(POLICIES[swap % POLICIES.len()]).await?;
        swaps.push(start.elapsed());
        seen.returned.store(swap, SeqCst);
    }
    let loaded = uploads(&mut admin, options.uploads..2 * options.uploads).await?;
    seen.stop.store(true, SeqCst);
    while let Some(client) = clients.join_next().await {
        client??;
    }
    let traps = failures(child.status).await?;
    println!("# {} replies, {} swaps", seen.replies.load(SeqCst), options.swaps);
    targets::print("swap_failed", seen.failed.load(SeqCst) as f64, "requests");
    targets::print("swap_mixed", seen.mixed.load(SeqCst) as f64, "requests");
    targets::print("swap_upload_ms", idle.p50() / 1e6, "ms");
    targets::print("swap_upload_under_load_ms", loaded.p50() / 1e6, "ms");
    targets::print("swap_activate_under_load_ms", swaps.p50() / 1e6, "ms");
    targets::print("false_traps", preempted as f64 + traps, "picks");
    child.stop();
    fleet.stop().await;
    Ok(())
}

/// Asks, every other request for a stream, until told to stop.
async fn ask(address: std::net::SocketAddr, client: usize, seen: Arc<Seen>) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    for turn in 0.. {
        if seen.stop.load(SeqCst) {
            break;
        }
        let streamed = turn % 2 == 0;
        let body = Prompt::Short.body(turn * CONNECTIONS + client, streamed);
        let earliest = seen.returned.load(SeqCst);
        let reply = connection.send(Method::POST, CHAT, body).await;
        let latest = seen.begun.load(SeqCst);
        match reply {
            Ok(reply) if is_whole(&reply, streamed) => {
                let is_right = (earliest..=latest).any(|swap| is_decided_by(&reply, swap));
                seen.mixed.fetch_add(usize::from(!is_right), SeqCst);
            }
            outcome => {
                if seen.failed.fetch_add(1, SeqCst) == 0 {
                    println!("# the first that failed: {outcome:?}");
                }
                connection = Connection::open(address).await?;
            }
        }
        seen.replies.fetch_add(1, SeqCst);
    }
    Ok(())
}

fn is_whole(reply: &Reply, streamed: bool) -> bool {
    reply.status == StatusCode::OK && (!streamed || reply.text().trim_end().ends_with("data: [DONE]"))
}

/// Whether the policy of this swap is the one that decided, and its rank the one that served.
fn is_decided_by(reply: &Reply, swap: usize) -> bool {
    let row = swap % POLICIES.len();
    let policy = reply.header("x-rankwise-policy").split('@').next();
    policy == Some(POLICIES[row]) && reply.header("x-rankwise-dp-rank") == row.to_string()
}

/// Uploads kv under digests that the proxy has not seen, and takes it back.
async fn uploads(admin: &mut Admin, numbers: std::ops::Range<u32>) -> anyhow::Result<Samples> {
    let kv = component::kv(None)?;
    let mut samples = Samples::default();
    for number in numbers {
        let wasm = component::renumbered(&kv, number);
        let start = Instant::now();
        let digest = admin.upload("uploaded", wasm).await?;
        samples.push(start.elapsed());
        admin.forget(&digest).await?;
    }
    Ok(samples)
}

async fn wait_for_replies(seen: &Seen, count: usize) -> anyhow::Result<()> {
    let end = Instant::now() + WITHIN;
    while seen.replies.load(SeqCst) < count {
        ensure!(Instant::now() < end, "no replies in time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Picks that failed, as the proxy counted them.
async fn failures(status: std::net::SocketAddr) -> anyhow::Result<f64> {
    let page = Connection::open(status).await?.get("/metrics").await?.text();
    let lines = page.lines().filter(|line| line.starts_with("rankwise_policy_failures_total"));
    Ok(lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
}
