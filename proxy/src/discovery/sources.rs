//! The sources that are looked at again and again: a file, DNS.

mod dns;
mod file;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::dns::DnsName;
use self::file::WorkersFile;
use super::roster::Roster;
use super::worker_set::{Source, WorkerSet};
use crate::config;

/// After the start, those who join do so slowly.
const START: Duration = Duration::from_secs(5);

/// Looks at the file and the names of a pool, the one at `at`, until stopped, and has its roster follow them.
pub async fn follow(
    rosters: Arc<[Roster]>,
    at: usize,
    discovery: config::Discovery,
    stop: CancellationToken,
) {
    let Some(roster) = rosters.get(at) else { return };
    let mut file = discovery.file.map(WorkersFile::new);
    let mut names: Vec<DnsName> = discovery.dns.into_iter().map(DnsName::new).collect();
    if file.is_none() && names.is_empty() {
        return;
    }
    let started = tokio::time::Instant::now();
    let mut interval = interval(discovery.interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let handover = discovery.handover_timeout;
    let looks = async {
        loop {
            interval.tick().await;
            let joins = started.elapsed() > START;
            if let Some(watched) = file.take() {
                let (watched, workers) = watched.look().await;
                file = Some(watched);
                if let Some(workers) = workers {
                    roster.apply(WorkerSet { source: Source::File, workers }, handover, joins).await;
                }
            }
            for (number, name) in names.iter_mut().enumerate() {
                if let Some(workers) = name.look().await {
                    roster.apply(WorkerSet { source: Source::Dns(number), workers }, handover, joins).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = looks => {}
    }
}
