//! `rankwise sim`: the simulated fleet alone.

use rankwise_sim::{EngineWire, Fault, Fleet, FleetSpec, WorkerHandle};
use serde_json::{Value, json};

use crate::signals::Signals;

/// A fault, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultAt {
    /// The worker, from 0; `None`: all of them.
    pub worker: Option<usize>,
    /// What it does wrong.
    pub fault: Fault,
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
    for FaultAt { worker: wanted, fault } in faults {
        for worker in fleet.workers().iter().filter(|worker| wanted.is_none_or(|it| it == worker.index())) {
            worker.fault(*fault);
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
    signals.next().await;
    fleet.stop().await;
    Ok(())
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
}
