//! Placing a request: decided and booked, and waited for where the policy says so.

mod decider;
mod pinned;
mod placed;
mod policy_request;

use std::cell::RefCell;
use std::time::Instant;

use http::{HeaderMap, HeaderValue};
use rankwise_core::ids::TargetId;
use rankwise_core::policy::Phase;
use rankwise_core::request::PlacementRequest;
use rankwise_core::sessions::Session;
use rankwise_engines::Engine;
use rankwise_prompt::Api;

pub(super) use decider::Decider;
use decider::{InForce, Verdict};
pub(super) use placed::{Expected, Placed};

use super::pin::Pin;
use crate::error::{ProxyError, Stage};
use crate::pool::Pool;
use crate::responses::Keeper;
use crate::sessions::Belongs;

/// What is known of a request before it is placed.
pub(super) struct Placement<'a> {
    /// What it calls.
    pub api: Api,
    /// For the ledger and the index.
    pub request: PlacementRequest<'a>,
    /// The client's headers, of which the policy sees those it asked for.
    pub headers: &'a HeaderMap,
    /// Its session and tenant.
    pub belongs: Belongs,
    /// Priority as the client gave it.
    pub priority: Option<i32>,
    /// Decisions made before.
    pub attempt: u32,
    /// `x-request-id`.
    pub id: &'a HeaderValue,
    /// Uniform, and the same for every decision about this request.
    pub draw: u64,
    /// Targets that failed this request.
    pub failed: &'a [TargetId],
    /// What a trusted client chose.
    pub pin: Option<Pin<'a>>,
    /// Where its other leg is, once that is decided.
    pub peer: Option<Peer>,
    /// Who keeps what it goes on from, and alone can answer it.
    pub keeper: Option<Keeper>,
}

impl Placement<'_> {
    /// Its session, which lives somewhere in each phase.
    pub(super) fn session(&self) -> Option<Session> {
        let session = self.belongs.session?;
        Some(if self.request.phase == Phase::Decode { session.decoding() } else { session })
    }
}

/// The place of a request's other leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// The target; none where its engine chose the rank.
    pub target: Option<TargetId>,
    /// What speaks there: KV goes between engines of one kind.
    pub engine: Engine,
}

/// Why a request has no place.
pub(super) enum Unplaced {
    /// There is no target that may be picked.
    NothingToPick,
    /// The policy wants no prefill of its own: the request is to be run whole.
    Skipped,
    /// Nobody is asked: this is the answer, of the policy or of the queue.
    Refused(ProxyError),
}

impl From<ProxyError> for Unplaced {
    fn from(error: ProxyError) -> Self {
        Self::Refused(error)
    }
}

/// Decides where a request goes and books it there, waiting where the policy says so.
///
/// # Errors
/// When no target may be picked; what the policy rejects with; 503 when the wait is over.
pub(super) async fn place(
    decider: &RefCell<Decider>,
    pool: &Pool,
    placement: &Placement<'_>,
) -> Result<Placed, Unplaced> {
    if let Some(pin) = placement.pin {
        return decider.borrow_mut().place_pinned(pool, placement, pin);
    }
    let started = Instant::now();
    let mut queued = None;
    let lane = pool.policies.lane_for(placement.draw, placement.belongs.session);
    loop {
        let (lane, current) = pool.policies.current(lane);
        let in_force = InForce { lane, current: &current };
        let sequence = pool.policies.next_sequence(lane, placement.request.phase);
        let mut request = policy_request::of(pool, placement, in_force.needs(), sequence);
        // Before the decision, so that no change after it is missed.
        let changed = pool.load_changes();
        let decided = Instant::now();
        let verdict = decider.borrow_mut().decide(pool, &in_force, placement, &mut request)?;
        pool.metrics.decision.observe(decided.elapsed().as_secs_f64());
        match verdict {
            Verdict::Placed(placed) => {
                if queued.is_some() {
                    pool.metrics.queue.observe(started.elapsed().as_secs_f64());
                }
                return Ok(*placed);
            }
            Verdict::Wait(at_most) => {
                let left = pool.limits.queue_time_max.saturating_sub(started.elapsed());
                if left.is_zero() {
                    return Err(ProxyError::new(Stage::Queue, "no dp rank had room in time").into());
                }
                if queued.is_none() {
                    queued = Some(pool.enter_queue()?);
                }
                // Woken or not: what counts is the next decision.
                let _ = tokio::time::timeout(at_most.min(left), changed).await;
            }
        }
    }
}

/// 503: there is no target that may be picked.
pub(super) fn nothing_to_pick(pool: &Pool) -> ProxyError {
    let message = if pool.state.targets().is_empty() {
        format!("pool {}: no worker yet", pool.name)
    } else {
        format!("pool {}: no dp rank is available", pool.name)
    };
    ProxyError::new(Stage::Decision, message)
}
