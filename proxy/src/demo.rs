//! The demo: an embedded fleet of simulated engines behind the real proxy, over real sockets, shown twice.
//!
//! The same conversations run first under round-robin, then, with empty caches, under kv, swapped in while the proxy
//! runs. What is shown is what the engines themselves counted.

mod conversations;
mod drive;
mod report;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use rankwise_sim::{Fleet, FleetSpec};
use serde_json::json;

use crate::config::{self, Config};
use crate::run::{self, Running};
use crate::signals::Signals;
use crate::upstream::Origin;
use conversations::Conversations;
use report::Report;

/// What the demo may be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where it is scraped.
    pub status: SocketAddr,
    /// Where it is administered.
    pub admin: SocketAddr,
    /// Requests under each policy; then the demo ends. `None`: 400, and it goes on serving.
    pub requests: Option<usize>,
}

const REQUESTS: usize = 400;

/// Simulated seconds per second.
const SPEED: f64 = 4.0;

/// How long the pieces may take to find each other.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The fleet of the demo: caches that hold about half of what the conversations need, so that it matters where they go.
fn fleet_spec(state_dir: Option<PathBuf>) -> FleetSpec {
    FleetSpec {
        workers: 2,
        ranks: 4,
        blocks_per_rank: 769,
        block_size: 16,
        speed: SPEED,
        state_dir,
        ..FleetSpec::default()
    }
}

/// Runs the demo until it is over or a signal comes.
///
/// # Errors
/// When it cannot start, or a request fails.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let mut signals = Signals::install()?;
    let fleet = Fleet::start(fleet_spec(None)).await.context("start the simulated fleet")?;
    let running = run::start(&config(&options, &fleet)?).await?;
    tokio::select! {
        shown = show(&options, &fleet, &running) => shown?,
        () = signals.next() => {}
    }
    running.stop(signals.next()).await;
    fleet.stop().await;
    Ok(())
}

/// Both policies one after the other, and the table; then, unless the requests are counted, it goes on serving for ever.
async fn show(options: &Options, fleet: &Fleet, running: &Running) -> anyhow::Result<()> {
    let requests = options.requests.unwrap_or(REQUESTS);
    let address = *running.addresses.first().context("no listener")?;
    println!(
        "rankwise demo: 2 simulated workers x 4 dp ranks behind a real proxy, over real sockets and real ZMQ events."
    );
    println!(
        "  proxy http://{address}   metrics http://{}/metrics   admin http://{}/v1/pools",
        running.status_address, running.admin_address
    );
    println!("  times are simulated: an invented engine, {SPEED:.0} simulated seconds per second.\n");
    ready(running).await?;

    let mut reports = Vec::new();
    for policy in ["round-robin", "kv"] {
        activate(running, policy).await?;
        fresh_caches(fleet, running).await?;
        let conversations = Conversations::new(requests);
        drive::all(address, &conversations, |done| report::progress(policy, done, requests, fleet)).await?;
        report::progress_end();
        reports.push(Report::of(policy, fleet));
    }
    report::table(&reports);
    if options.requests.is_some() {
        return Ok(());
    }
    println!("Serving with kv until Ctrl-C. Ask it yourself, twice, and see where the answer comes from:\n");
    println!("  curl -si http://{address}/v1/chat/completions -H 'content-type: application/json' \\");
    println!(
        "    -d '{{\"model\":\"sim\",\"messages\":[{{\"role\":\"user\",\"content\":\"Hello\"}}]}}' | grep -i x-rankwise\n"
    );
    std::future::pending().await
}

fn config(options: &Options, fleet: &Fleet) -> anyhow::Result<Config> {
    let workers: Vec<_> = fleet
        .workers()
        .iter()
        .enumerate()
        .map(|(number, worker)| json!({ "name": format!("sim-{number}"), "url": worker.url(), "engine": "vllm" }))
        .collect();
    let document = json!({
        "listeners": [{ "address": options.listen }],
        "status": { "address": options.status },
        "admin": { "address": options.admin },
        "expose_decision": true,
        "pools": [{ "name": "main", "policy": { "name": "round-robin" }, "workers": workers }],
    });
    // JSON is YAML.
    Ok(config::parse("demo", &document.to_string())?)
}

/// Waits until every rank may be picked and prompts are read.
async fn ready(running: &Running) -> anyhow::Result<()> {
    let origin = origin(running.status_address);
    wait("the proxy to find the ranks and load the tokenizer", async || {
        origin
            .get("/readyz", 4096, Duration::from_secs(1))
            .await
            .is_ok_and(|answer| answer.status.is_success())
    })
    .await
}

/// Swaps the policy through the admin API, as a user would.
async fn activate(running: &Running, policy: &str) -> anyhow::Result<()> {
    let body = json!({ "policy": policy, "reason": "demo" }).to_string();
    let origin = origin(running.admin_address);
    let answer =
        origin.put("/v1/pools/main/policy", Bytes::from(body), 1 << 16, Duration::from_secs(30)).await?;
    if !answer.status.is_success() {
        bail!("activate {policy}: {}", String::from_utf8_lossy(&answer.body));
    }
    Ok(())
}

/// Empties the engines' caches and waits until the proxy has heard of it.
///
/// As vLLM, the engines tell of it with their next step: a prompt shorter than a block makes each of them take one.
async fn fresh_caches(fleet: &Fleet, running: &Running) -> anyhow::Result<()> {
    fleet.clear_caches();
    for worker in fleet.workers() {
        let address = worker.url().trim_start_matches("http://").to_owned();
        for rank in 0..worker.stats().len() {
            let mut headers = http::HeaderMap::new();
            headers.insert("x-data-parallel-rank", http::HeaderValue::from(rank));
            let nudge = json!({ "model": "sim", "prompt": [1, 2, 3], "max_tokens": 1 }).to_string();
            let origin = Origin { address: address.clone(), headers, connect_timeout: START_TIMEOUT };
            origin.post("/v1/completions", Bytes::from(nudge), 1 << 16, START_TIMEOUT).await?;
        }
    }
    wait("the proxy to see the caches empty", async || {
        running
            .pools()
            .iter()
            .all(|pool| pool.state.targets().iter().all(|target| pool.state.cached_blocks(target.id) == 0))
    })
    .await?;
    for worker in fleet.workers() {
        worker.clear_logs();
    }
    Ok(())
}

async fn wait(what: &str, holds: impl AsyncFn() -> bool) -> anyhow::Result<()> {
    let waited = tokio::time::timeout(START_TIMEOUT, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.with_context(|| format!("waited {START_TIMEOUT:?} for {what}"))
}

fn origin(address: SocketAddr) -> Origin {
    let headers = http::HeaderMap::new();
    Origin { address: address.to_string(), headers, connect_timeout: START_TIMEOUT }
}
