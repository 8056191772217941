//! A policy that never comes back from every third request, under load: what the other requests notice of it until the
//! policy before is back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http::{Method, StatusCode};
use rankwise_measure::samples::{Samples, median};
use rankwise_sim::{Fleet, FleetSpec};
use tokio::task::JoinSet;

use super::admin::{Admin, WITHIN};
use super::{CONNECTIONS, Options};
use crate::child::{self, Child};
use crate::http1::Connection;
use crate::load::{CHAT, Prompt};
use crate::{component, targets};

/// Replies of the sound policy before each time that the loop comes.
const REPLIES: usize = 2_000;

/// What clients saw.
#[derive(Default)]
struct Seen {
    replies: AtomicUsize,
    failed: AtomicUsize,
    by_fallback: AtomicUsize,
    /// How many times the loop has come or gone: it is there while this is odd.
    changes: AtomicUsize,
    stop: AtomicBool,
}

/// Times of requests, by how often the loop had come or gone when they were sent; the few that it hit are among them.
type Times = Vec<Samples>;

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let binary = child::binary(options.binary.as_deref())?;
    let spec = FleetSpec { workers: 1, ranks: 2, speed: 10_000.0, ..FleetSpec::default() };
    let fleet = Fleet::start(spec).await.context("start the engines")?;
    let mut child = Child::start(&binary, &["--policy", "least-loaded", "--expose-decision"], &fleet).await?;
    let mut admin = Admin::open(child.admin, 2).await?;
    admin.upload("loops", component::loops_on_every_third()?).await?;

    let seen = Arc::new(Seen::default());
    let mut clients = JoinSet::new();
    for number in 0..CONNECTIONS {
        clients.spawn(ask(child.address, number, Arc::clone(&seen)));
    }
    let mut until_back = Samples::default();
    for _ in 0..options.rollbacks {
        wait_for_replies(&seen, seen.replies.load(SeqCst) + REPLIES).await?;
        seen.changes.fetch_add(1, SeqCst);
        let start = Instant::now();
        admin.activate("loops").await?;
        while admin.serving().await? != "last_good" {
            ensure!(start.elapsed() < WITHIN, "the policy before did not come back");
            // Seldom: being asked costs the proxy time as well.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        until_back.push(start.elapsed());
        seen.changes.fetch_add(1, SeqCst);
    }
    seen.stop.store(true, SeqCst);
    let mut times = Times::new();
    while let Some(client) = clients.join_next().await {
        for (changes, more) in client??.iter().enumerate() {
            at(&mut times, changes).extend(more);
        }
    }
    let [mut normal, mut others, mut over] = [const { Vec::new() }; 3];
    let mut all = [Samples::default(), Samples::default()];
    for turn in times.chunks_exact(2) {
        all.iter_mut().zip(turn).for_each(|(all, times)| all.extend(times));
        let [before, since] = [&turn[0], &turn[1]].map(Samples::p99);
        normal.push(before);
        others.push(since);
        over.push(since - before);
    }
    println!(
        "# {} rollbacks, each after at least 5 loops of 2 ms; {} replies were decided by the fallback",
        options.rollbacks,
        seen.by_fallback.load(SeqCst)
    );
    targets::print("runaway_failed", seen.failed.load(SeqCst) as f64, "requests");
    targets::print("runaway_rollback_ms", until_back.p50() / 1e6, "ms");
    // Of the times that it came, as what else goes on here may fill one of them.
    targets::print("runaway_normal_p99_ms", median(normal) / 1e6, "ms");
    targets::print("runaway_others_p99_ms", median(others) / 1e6, "ms");
    targets::print("runaway_others_p99_over_ms", median(over) / 1e6, "ms");
    let [before, since] = all.each_ref().map(Samples::p99);
    targets::print("runaway_others_p99_over_of_all_ms", (since - before) / 1e6, "ms");
    child.stop();
    fleet.stop().await;
    Ok(())
}

async fn ask(address: SocketAddr, client: usize, seen: Arc<Seen>) -> anyhow::Result<Times> {
    let mut connection = Connection::open(address).await?;
    let mut times = Times::new();
    for turn in 0.. {
        if seen.stop.load(SeqCst) {
            break;
        }
        let body = Prompt::Short.body(turn * CONNECTIONS + client, false);
        let changes = seen.changes.load(SeqCst);
        let start = Instant::now();
        match connection.send(Method::POST, CHAT, body).await {
            Ok(reply) if reply.status == StatusCode::OK => {
                if reply.header("x-rankwise-policy").starts_with("fallback") {
                    seen.by_fallback.fetch_add(1, SeqCst);
                }
                at(&mut times, changes).push(start.elapsed());
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
    Ok(times)
}

fn at(times: &mut Times, changes: usize) -> &mut Samples {
    let known = times.len().max(changes + 1);
    times.resize_with(known, Samples::default);
    &mut times[changes]
}

async fn wait_for_replies(seen: &Seen, count: usize) -> anyhow::Result<()> {
    let end = Instant::now() + WITHIN;
    while seen.replies.load(SeqCst) < count {
        ensure!(Instant::now() < end, "no replies in time");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}
