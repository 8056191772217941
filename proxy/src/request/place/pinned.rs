//! Placing a request where a trusted client wants it: no policy is asked, all else is as ever.

use http::{HeaderValue, StatusCode};
use rankwise_core::ids::TargetId;
use rankwise_core::state::Choice;
use rankwise_core::target::{Availability, Target};
use rankwise_prompt::Api;

use super::{Decider, Placed, Placement, Unplaced};
use crate::clock;
use crate::error::{ProxyError, Stage};
use crate::pool::Pool;
use crate::request::pin::{self, Pin};
use crate::workers::{Rank, Worker};

/// Who decided.
const LABEL: HeaderValue = HeaderValue::from_static("pinned");

impl Decider {
    /// Books the request where `pin` says.
    pub(super) fn place_pinned(
        &mut self,
        pool: &Pool,
        placement: &Placement<'_>,
        pin: Pin<'_>,
    ) -> Result<Placed, Unplaced> {
        let workers = pool.workers.current();
        let worker = workers.named(pin.worker).ok_or_else(|| unknown_worker(pool, pin))?;
        let ranks = named_ranks(worker, placement.api, pin)?;
        if !ranks.iter().any(|rank| rank.target.spec.phases.has(placement.request.phase)) {
            let role = worker.role.name();
            return Err(pin::bad(format!(
                "{}: worker {} takes no whole request: its role is {role}",
                pin::WORKER,
                pin.worker
            ))
            .into());
        }
        let ready: Vec<TargetId> = ranks
            .iter()
            .map(|rank| &rank.target)
            .filter(|target| is_ready(target))
            .map(|target| target.id)
            .collect();
        if ready.is_empty() {
            return Err(unavailable(pin).into());
        }
        let mut filter = |target: &Target| ready.contains(&target.id);
        pool.state.snapshot(&placement.request, &[], &mut filter, clock::now(), &mut self.snapshot);
        let choice = if pin.rank.is_some() { Choice::Row(0) } else { Choice::Worker(worker.id) };
        // By force: the choice would be the same after another booking.
        let booking = pool
            .state
            .book(&self.snapshot, choice, &placement.request, true, clock::now())
            .map_err(|_| unavailable(pin))?;
        // It went after the snapshot was taken.
        let placed = self.placed(pool, placement, choice, booking, LABEL).map_err(|_| unavailable(pin))?;
        pool.metrics.pinned.inc();
        Ok(placed)
    }
}

fn is_ready(target: &Target) -> bool {
    target.health.availability() == Availability::Ready
}

/// The ranks that the request may come to.
fn named_ranks<'a>(worker: &'a Worker, api: Api, pin: Pin<'_>) -> Result<&'a [Rank], ProxyError> {
    let Some(wanted) = pin.rank else { return Ok(&worker.ranks) };
    let position = worker.ranks.iter().position(|rank| rank.target.spec.rank == wanted);
    let Some(rank) = position.and_then(|at| worker.ranks.get(at..=at)) else {
        let known = worker.ranks.len();
        return Err(pin::bad(format!(
            "{}: worker {} has {known} dp ranks, counted from 0",
            pin::DP_RANK,
            pin.worker
        )));
    };
    // An only rank need not be named to be reached.
    if worker.ranks.len() > 1 && !rank.iter().all(|rank| rank.target.spec.pinnable) {
        return Err(pin::bad(format!("{}: the engine of worker {} takes no rank", pin::DP_RANK, pin.worker)));
    }
    if !worker.takes_rank(api) {
        let (name, engine) = (pin.worker, worker.engine);
        return Err(pin::bad(format!("{}: worker {name}: {engine} takes no rank on {api}", pin::DP_RANK)));
    }
    Ok(rank)
}

fn unknown_worker(pool: &Pool, pin: Pin<'_>) -> ProxyError {
    ProxyError::new(Stage::Head, format!("{}: pool {} has no worker {}", pin::WORKER, pool.name, pin.worker))
}

/// 409: it is known, and may not be picked now.
fn unavailable(pin: Pin<'_>) -> ProxyError {
    let place = match pin.rank {
        Some(rank) => format!("worker {} rank {rank}", pin.worker),
        None => format!("worker {}", pin.worker),
    };
    ProxyError::new(Stage::Decision, format!("{place} is not available"))
        .status(StatusCode::CONFLICT)
        .retry_after(Some(1))
}
