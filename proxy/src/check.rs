//! `rankwise check --live`: asks every engine of a config what it is, and names what makes kv blind.

use std::sync::Arc;

use crate::config::{self, Config};
use crate::discovery::{DescribeError, Description, ProbeLimits, Seat, describe, identify};
use crate::upstream::Origin;

/// What was found at one worker.
pub struct Found {
    /// Its pool.
    pub pool: String,
    /// Its name.
    pub worker: String,
    /// What it is, or why that cannot be said.
    pub description: Result<Description, DescribeError>,
}

/// What nobody can find out by asking.
const DRAINED: &str = "drain_events: each event is told once, so two drainers take them from each other: let no second rankwise, \
                       monitor or router read /kv_cache_events";

impl Found {
    /// Whether requests can be routed there by what it has cached.
    pub fn is_fine(&self) -> bool {
        self.description.as_ref().is_ok_and(|description| description.findings.is_empty())
    }

    /// A line for the worker, and one for each finding.
    pub fn lines(&self) -> Vec<String> {
        let place = format!("pool {} worker {}", self.pool, self.worker);
        match &self.description {
            Err(error) => vec![format!("{place}: {error}")],
            Ok(description) => {
                let mut lines = vec![format!("{place}: {}", summary(description))];
                lines.extend(
                    description.findings.iter().map(|finding| format!("{place}: kv is blind: {finding}")),
                );
                if description.drained {
                    lines.push(format!("{place}: {DRAINED}"));
                }
                lines
            }
        }
    }
}

/// Lines about workers that nobody asks: those that a pool's `discovery` finds, as it does when it runs.
pub fn unasked(config: &Config) -> Vec<String> {
    let discovering = config.pools.iter().filter(|pool| pool.discovery.finds_some());
    let line = |pool: &config::Pool| {
        let who = if pool.workers.is_empty() {
            "nobody was asked: its workers are"
        } else {
            "not asked: workers that are"
        };
        format!("pool {}: {who} found by discovery", pool.name)
    };
    discovering.map(line).collect()
}

fn summary(description: &Description) -> String {
    let mut parts = vec![description.engine.name().to_owned()];
    parts.extend(description.version.clone());
    parts.extend(description.instance.map(|id| format!("worker {id}")));
    parts.push(format!("{} dp ranks", description.ranks.len()));
    if let Some(size) = description.block_size {
        parts.push(format!("blocks of {size} tokens"));
    }
    if let Some(rank) = description.ranks.first().filter(|rank| rank.capacity_blocks > 0) {
        parts.push(format!("{} blocks per rank", rank.capacity_blocks));
    }
    parts.push(format!("models {}", description.models.join(", ")));
    parts.join(", ")
}

/// Asks all workers.
pub async fn live(config: &Config) -> Vec<Found> {
    let upstream = &config.limits.upstream;
    let limits = ProbeLimits {
        bytes_max: upstream.probe_bytes_max,
        timeout: upstream.probe_timeout,
        connect_timeout: upstream.connect_timeout,
        ranks_max: upstream.ranks_per_worker_max.get(),
    };
    let times = (config.limits.events.timeout, config.limits.health.proof_timeout);
    let frontends = Arc::default();
    let mut asked = Vec::new();
    for pool in &config.pools {
        for worker in &pool.workers {
            asked.push((pool, worker, Seat::of(&frontends, &pool.name, worker)));
        }
    }
    let mut found = Vec::new();
    for (pool, worker, seat) in &asked {
        let origin = Origin {
            address: worker.url.authority(),
            headers: worker.headers.iter().cloned().collect(),
            connect_timeout: limits.connect_timeout,
        };
        let description = async {
            let mut description = describe(worker, &origin, limits, None).await?;
            identify(seat.as_ref(), &origin, &mut description, times).await?;
            Ok(description)
        };
        found.push(Found {
            pool: pool.name.to_string(),
            worker: worker.name.to_string(),
            description: description.await,
        });
    }
    found
}
