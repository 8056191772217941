//! `rankwise sim`: the simulated fleet alone.

use rankwise_sim::{Fault, Fleet, FleetSpec};

use crate::signals::Signals;

/// A fault, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultAt {
    /// The worker, from 0; `None`: all of them.
    pub worker: Option<usize>,
    /// What it does wrong.
    pub fault: Fault,
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
    let flags: Vec<_> = fleet.workers().iter().map(|worker| format!("--worker {}", worker.url())).collect();
    println!("rankwise serve {}", flags.join(" "));
    signals.next().await;
    fleet.stop().await;
    Ok(())
}
