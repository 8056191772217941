//! The load that a rank publishes by itself, as SGLang does with `--load-publish-endpoint`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, interval};
use zeromq::{PubSocket, SocketSend};

use super::event_wire::Writer;
use super::sockets;
use super::worker::Worker;
use crate::model::core::RankStats;

/// What the messages are about.
pub(super) const TOPIC: &str = "load";

/// How often it looks whether anything has changed, and the longest that it is silent (wall time).
const LOOK: Duration = Duration::from_millis(10);
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Tells each change of a rank's load, and that it lives.
pub(super) async fn publish(mut socket: PubSocket, worker: Arc<Worker>, rank: usize) {
    let mut looks = interval(LOOK);
    let mut told: Option<(Vec<u64>, Instant)> = None;
    let mut sequence: u64 = 0;
    loop {
        looks.tick().await;
        let figures = figures(&worker, rank);
        if told.as_ref().is_some_and(|(before, at)| *before == figures && at.elapsed() < HEARTBEAT) {
            continue;
        }
        let number = Bytes::copy_from_slice(&sequence.to_be_bytes());
        let message = sockets::message([Bytes::from_static(TOPIC.as_bytes()), number, encode(&figures)]);
        if let Err(error) = socket.send(message).await {
            tracing::debug!(%error, "load not sent");
        }
        sequence += 1;
        told = Some((figures, Instant::now()));
    }
}

/// Running, waiting, tokens held, tokens there is room for, the rank among those that step with it; and what later versions added.
fn figures(worker: &Worker, rank: usize) -> Vec<u64> {
    let spec = &worker.site.spec;
    let stats: RankStats = worker.stats().get(rank).copied().unwrap_or_default();
    let held = u64::from(stats.used_blocks) * u64::from(spec.block_size);
    let number = if spec.lockstep { rank as u64 } else { 0 };
    let mut figures =
        vec![stats.running as u64, stats.waiting as u64, held, spec.tokens_per_rank().into(), number];
    figures.extend([0, held, spec.max_running as u64, 0, 0]);
    figures
}

fn encode(figures: &[u64]) -> Bytes {
    let mut out = Writer(Vec::with_capacity(64));
    out.array(1 + figures.len());
    out.text("LoadStat");
    figures.iter().for_each(|figure| out.number(*figure));
    out.0.into()
}
