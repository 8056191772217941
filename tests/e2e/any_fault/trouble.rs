//! What goes wrong with a worker.

use std::time::Duration;

use rankwise_sim::{Fault, WorkerHandle};

use super::symptom::Symptom;
use crate::harness::{Wire, wait_until};

/// What goes wrong with a worker.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// While requests come.
    Fault(Fault),
    /// Events are lost, and cannot be had again for as long as it lasts.
    LostForNow,
    /// Its process ends, and another one comes.
    Restart,
    /// The same, and the first batch of each rank says so.
    AnnouncedRestart,
    /// Somebody has it forget all that is not in use.
    Cleared,
}

pub(super) const TROUBLES: [Trouble; 18] = [
    Trouble::Fault(Fault::DropEvents(3)),
    Trouble::LostForNow,
    Trouble::Restart,
    Trouble::AnnouncedRestart,
    Trouble::Cleared,
    Trouble::Fault(Fault::SilentRank(0)),
    Trouble::Fault(Fault::DeadRank(1)),
    Trouble::Fault(Fault::DyingRank(1, Duration::from_millis(200))),
    Trouble::Fault(Fault::HungRank(1)),
    Trouble::Fault(Fault::ServerError),
    Trouble::Fault(Fault::StreamError),
    Trouble::Fault(Fault::ResetAfter(1)),
    Trouble::Fault(Fault::HalfCloseAfter(1)),
    Trouble::Fault(Fault::AbortAfterFirst),
    Trouble::Fault(Fault::RefuseConnections),
    Trouble::Fault(Fault::Unhealthy),
    Trouble::Fault(Fault::IgnorePin),
    // Last: how long it is not believed doubles with every batch.
    Trouble::Fault(Fault::LieAboutRank(1)),
];

impl Trouble {
    pub(super) fn symptom(self) -> Symptom {
        const GAPS: &str = "rankwise_kv_event_gaps_total";
        const ERRORS: &str = "rankwise_kv_event_errors_total";
        const RESTARTS: &str = "rankwise_kv_event_restarts_total";
        match self {
            Self::LostForNow | Self::Fault(Fault::DropEvents(_)) => Symptom::Counted(&[GAPS]),
            // Where it is drained, the other rank's events are out of their order there.
            Self::Fault(Fault::LieAboutRank(_)) => Symptom::Counted(&[ERRORS, GAPS, RESTARTS]),
            Self::Restart | Self::AnnouncedRestart | Self::Cleared => Symptom::Forgotten,
            Self::Fault(Fault::SilentRank(rank)) => Symptom::Untold(rank as usize),
            Self::Fault(Fault::ServerError) => Symptom::TakenOut(&["server_error"]),
            // Where there are event sockets, by these.
            Self::Fault(Fault::DeadRank(_) | Fault::DyingRank(..)) => {
                Symptom::TakenOut(&["events_closed", "server_error", "silent"])
            }
            Self::Fault(Fault::HungRank(_)) => Symptom::TakenOut(&["silent"]),
            Self::Fault(Fault::StreamError | Fault::AbortAfterFirst) => {
                Symptom::TakenOut(&["error_in_answer"])
            }
            Self::Fault(Fault::ResetAfter(_) | Fault::HalfCloseAfter(_)) => Symptom::TakenOut(&["broken"]),
            Self::Fault(Fault::RefuseConnections | Fault::Unhealthy) => Symptom::Lost,
            Self::Fault(Fault::IgnorePin) => Symptom::Misplaced,
            Self::Fault(other) => panic!("{other:?}: by what does it show?"),
        }
    }

    /// Whether requests that are sent to the worker in trouble may fail by it. No other ever does.
    pub(super) fn fails_requests(self, wire: Wire) -> bool {
        // Behind Dynamo's frontend a new process is another worker: until that is known, its frontend refuses the former's id.
        let renamed = wire == Wire::Dynamo && matches!(self, Self::Restart | Self::AnnouncedRestart);
        renamed || matches!(self.symptom(), Symptom::TakenOut(_))
    }

    /// Whether it leaves gaps that the engine itself cannot fill: the rank says what it holds when it begins anew.
    pub(super) fn is_lossy(self, wire: Wire) -> bool {
        let untold = matches!(self, Self::Fault(Fault::SilentRank(_) | Fault::LieAboutRank(_)));
        // Each event is told once, and nobody tells who listens behind a port that was closed.
        let drained =
            matches!(self, Self::Fault(Fault::DropEvents(_) | Fault::RefuseConnections) | Self::LostForNow);
        untold || (wire.is_drained() && drained)
    }

    pub(super) async fn begin(self, worker: &WorkerHandle) {
        match self {
            Self::Fault(fault) => worker.fault(fault),
            Self::LostForNow => {
                [Fault::NoReplay, Fault::DropEvents(2)].into_iter().for_each(|fault| worker.fault(fault))
            }
            Self::Restart => worker.restart().await.expect("the same ports"),
            Self::AnnouncedRestart => worker.restart_announced().await.expect("the same ports"),
            Self::Cleared => cleared(worker).await,
        }
    }
}

/// Each rank says so with its next step.
pub(super) async fn cleared(worker: &WorkerHandle) {
    wait_until("the engine to be idle", async || worker.clear_caches()).await;
}
