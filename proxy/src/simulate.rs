//! `rankwise sim`: the simulated fleet alone.

use rankwise_sim::{Fault, Fleet, FleetSpec};

use crate::cli::{FaultKind, SimOptions};
use crate::config::Lockstep;
use crate::run::signal;

/// Runs a fleet until a signal.
///
/// # Errors
/// When a port is taken.
pub async fn run(options: &SimOptions) -> anyhow::Result<()> {
    let fleet = Fleet::start(spec(options)).await?;
    for fault in &options.faults {
        let workers = fleet.workers().iter().enumerate();
        for (_, worker) in workers.filter(|(number, _)| fault.worker.is_none_or(|wanted| wanted == *number)) {
            worker.fault(wire_fault(fault.fault));
        }
    }
    let flags: Vec<_> = fleet.workers().iter().map(|worker| format!("--worker {}", worker.url())).collect();
    println!("rankwise serve {}", flags.join(" "));
    signal().await?;
    fleet.stop().await;
    Ok(())
}

fn spec(options: &SimOptions) -> FleetSpec {
    FleetSpec {
        workers: options.workers.into(),
        ranks: options.ranks.into(),
        blocks_per_rank: options.blocks,
        block_size: options.block_size,
        lockstep: options.lockstep != Lockstep::Rank,
        workers_per_group: options.workers_per_group.into(),
        speed: options.speed,
        seed: options.seed,
        model_name: options.model.clone(),
        publish_events: !options.no_events,
        ports: Some(options.port),
        ..FleetSpec::default()
    }
}

fn wire_fault(fault: FaultKind) -> Fault {
    match fault {
        FaultKind::Stall => Fault::Stall,
        FaultKind::SlowFirstByte(late) => Fault::SlowFirstByte(late),
        FaultKind::ResetAfter(chunks) => Fault::ResetAfter(chunks),
        FaultKind::HalfCloseAfter(chunks) => Fault::HalfCloseAfter(chunks),
        FaultKind::RefuseConnections => Fault::RefuseConnections,
        FaultKind::ServerError => Fault::ServerError,
        FaultKind::StreamError => Fault::StreamError,
        FaultKind::AbortAfterFirst => Fault::AbortAfterFirst,
        FaultKind::LieAboutRank(rank) => Fault::LieAboutRank(rank),
        FaultKind::DropEvents(batches) => Fault::DropEvents(batches),
        FaultKind::NoReplay => Fault::NoReplay,
        FaultKind::SilentRank(rank) => Fault::SilentRank(rank),
        FaultKind::StaleMetrics => Fault::StaleMetrics,
        FaultKind::IgnorePin => Fault::IgnorePin,
    }
}
