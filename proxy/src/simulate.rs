//! `rankwise sim`: the simulated fleet alone.

use std::time::Duration;

use futures_util::future::try_join_all;
use rankwise_sim::{EngineWire, Fault, Fleet, FleetSpec, SimError, WorkerHandle};
use serde_json::{Value, json};

use crate::signals::Signals;

/// A fault, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultAt {
    /// The worker, from 0; `None`: all of them.
    pub worker: Option<usize>,
    /// What it does wrong.
    pub trouble: Trouble,
}

/// What a worker does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// This, all the time.
    Fault(Fault),
    /// It restarts, once.
    Restart {
        /// So long after it began.
        after: Duration,
        /// Whether each rank's first batch says that its cache is empty.
        announced: bool,
    },
}

/// The entry in a config of a worker behind Dynamo, of which nothing else tells.
fn entry(worker: &WorkerHandle) -> Value {
    let spec = worker.spec();
    let sockets = |rank| {
        let (endpoint, replay) = (worker.event_endpoint(rank), worker.replay_endpoint(rank));
        json!({ "endpoint": endpoint, "replay": replay, "topic": spec.topic })
    };
    let events: Vec<_> = (0..spec.ranks).filter(|_| spec.publish_events).map(sockets).collect();
    json!({
        "name": format!("w{}", worker.index()), "url": worker.url(), "engine": EngineWire::Dynamo.name(), "ranks": spec.ranks,
        "block_size": spec.block_size, "blocks": spec.blocks_per_rank - 1,
        "events": events,
    })
}

/// Runs a fleet until a signal.
///
/// # Errors
/// When a port is taken.
pub async fn run(spec: FleetSpec, faults: &[FaultAt]) -> anyhow::Result<()> {
    let mut signals = Signals::install()?;
    let fleet = Fleet::start(spec).await?;
    for (worker, trouble) in troubles(&fleet, faults) {
        if let Trouble::Fault(fault) = trouble {
            worker.fault(fault);
        }
    }
    if fleet.workers().iter().any(|worker| worker.instance_id().is_some()) {
        println!(
            "{}",
            json!({ "pools": [{ "workers": fleet.workers().iter().map(entry).collect::<Vec<_>>() }] })
        );
    } else {
        let flags: Vec<_> =
            fleet.workers().iter().map(|worker| format!("--worker {}", worker.url())).collect();
        println!("rankwise serve {}", flags.join(" "));
    }
    let ended = async {
        signals.next().await;
        Ok(())
    };
    tokio::select! {
        result = ended => result,
        Err(error) = restarts(&fleet, faults) => Err(error),
    }?;
    fleet.stop().await;
    Ok(())
}

/// Each worker's troubles.
fn troubles<'a>(
    fleet: &'a Fleet,
    faults: &'a [FaultAt],
) -> impl Iterator<Item = (&'a WorkerHandle, Trouble)> {
    let of = move |at: &'a FaultAt| {
        let FaultAt { worker: wanted, trouble } = *at;
        let named = move |worker: &&WorkerHandle| wanted.is_none_or(|it| it == worker.index());
        fleet.workers().iter().filter(named).map(move |worker| (worker, trouble))
    };
    faults.iter().flat_map(of)
}

/// Restarts workers when it is time, until the last was.
async fn restarts(fleet: &Fleet, faults: &[FaultAt]) -> Result<(), SimError> {
    try_join_all(troubles(fleet, faults).map(|(worker, trouble)| restart(worker, trouble))).await.map(drop)
}

async fn restart(worker: &WorkerHandle, trouble: Trouble) -> Result<(), SimError> {
    let Trouble::Restart { after, announced } = trouble else { return Ok(()) };
    tokio::time::sleep(after).await;
    if announced { worker.restart_announced().await } else { worker.restart().await }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EngineKind, parse_worker};

    #[tokio::test]
    async fn workers_behind_dynamo_are_printed_as_a_config_takes_them() {
        let spec = FleetSpec { engine: EngineWire::Dynamo, workers: 1, ranks: 2, ..FleetSpec::default() };
        let fleet = Fleet::start(spec).await.unwrap();
        let worker = parse_worker(entry(&fleet.workers()[0]).to_string().as_bytes()).unwrap();
        assert_eq!((worker.engine, worker.ranks.map(u32::from)), (EngineKind::Dynamo, Some(2)));
        assert!(matches!(worker.events, crate::config::Events::At(events) if events.len() == 2));
        fleet.stop().await;
    }

    #[tokio::test]
    async fn the_worker_that_is_named_restarts() {
        let spec = FleetSpec { engine: EngineWire::Dynamo, workers: 2, ranks: 1, ..FleetSpec::default() };
        let fleet = Fleet::start(spec).await.unwrap();
        let ids = || fleet.workers().iter().map(WorkerHandle::instance_id).collect::<Vec<_>>();
        for announced in [false, true] {
            let before = ids();
            let trouble = Trouble::Restart { after: Duration::from_millis(1), announced };
            restarts(&fleet, &[FaultAt { worker: Some(1), trouble }]).await.unwrap();
            let after = ids();
            assert_eq!(after[0], before[0]);
            assert_ne!(after[1], before[1]);
        }
        fleet.stop().await;
    }
}
