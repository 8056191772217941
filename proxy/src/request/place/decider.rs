//! One decision: snapshot, policy, booking.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};
use rankwise_core::fallback;
use rankwise_core::ids::{TargetId, WorkerId};
use rankwise_core::policy::{Column, Decision, Fact, Needs, Phase, PolicyRequest, Rejection};
use rankwise_core::sessions::Session;
use rankwise_core::snapshot::Snapshot;
use rankwise_core::state::{Booking, Choice, Raced};
use rankwise_core::target::{Availability, Condition, Target};
use rankwise_policy_host::{Activation, Current, PolicyFailure, ThreadPolicies};

use super::{Expected, Placed, Placement, Unplaced, policy_request};
use crate::clock;
use crate::config::Fallback;
use crate::decisions::{Answer, Chosen, Lane, Look, Seen};
use crate::error::{ProxyError, Stage};
use crate::pool::Pool;

/// A thread's part in deciding: its policy instances and the buffer it builds snapshots in.
pub(in crate::request) struct Decider {
    policies: ThreadPolicies,
    pub(super) snapshot: Snapshot,
    /// The name of the activation that decided last, ready for a header.
    label: Option<(u64, HeaderValue)>,
}

/// How often a decision that met another booking is made again before it is booked regardless.
const RACES_MAX: u32 = 1;

/// Who decides: a lane, and the policy in it.
pub(super) struct InForce<'a> {
    pub(super) lane: Lane,
    pub(super) current: &'a Current,
}

impl InForce<'_> {
    pub(super) fn needs(&self) -> Option<&Needs> {
        self.current.activation().map(|activation| activation.needs())
    }

    fn columns(&self) -> &[Column] {
        self.needs().map_or(&[][..], |needs| &needs.columns)
    }
}

/// A decision, and who made it.
struct Picked {
    decision: Decision,
    /// The name of who did.
    label: HeaderValue,
    /// What the policy said, where somebody looks.
    answer: Option<Answer>,
}

/// What came of a decision.
pub(super) enum Verdict {
    Placed(Box<Placed>),
    /// Ask again after a change, or after so long.
    Wait(Duration),
}

impl Decider {
    /// With these instances.
    pub(in crate::request) fn new(policies: ThreadPolicies) -> Self {
        Self { policies, snapshot: Snapshot::default(), label: None }
    }

    /// Decides and books.
    pub(super) fn decide(
        &mut self,
        pool: &Pool,
        in_force: &InForce<'_>,
        placement: &Placement<'_>,
        request: &mut PolicyRequest,
    ) -> Result<Verdict, Unplaced> {
        let session = placement.session();
        // What a response goes on from is cached where that was made, whatever else its session did.
        let home = placement
            .keeper
            .and_then(|keeper| keeper.target)
            .or_else(|| session.and_then(|session| pool.sessions.home(session, clock::now())));
        let shadow = pool.policies.shadow().map(|trial| {
            let text = policy_request::text_for(pool, placement, Some(trial.activation().needs()));
            trial.job(text, placement.request.phase)
        });
        let mut look = pool.decisions.look(placement.id, in_force.columns(), shadow);
        for race in 0..=RACES_MAX {
            self.take_snapshot(pool, in_force.columns(), placement, home, look.as_mut());
            if let Some(activation) = in_force.current.activation() {
                pool.policies.fill_learned(activation, &mut self.snapshot);
            }
            let has_none = self.count_without_room(pool, look.as_mut());
            if self.snapshot.rows().is_empty() {
                // Woken as soon as anything ends.
                let wait = Verdict::Wait(pool.limits.queue_time_max);
                return if has_none { Ok(wait) } else { Err(Unplaced::NothingToPick) };
            }
            let workers = pool.workers.current();
            let choosing = workers.choosing(placement.api);
            if !choosing.is_empty() {
                mark_not_pinnable(&mut self.snapshot, choosing);
            }
            let row = home.and_then(|home| self.snapshot.row_of(home));
            request.facts.set(Fact::SessionRow, row.map_or(0, |row| u64::from(row) + 1));
            let peer = placement.peer.and_then(|peer| self.snapshot.row_of(peer.target?));
            request.facts.set(Fact::PeerRow, peer.map_or(0, |row| u64::from(row) + 1));
            let request = &*request;
            let picked = self.pick(pool, in_force, request, look.as_mut());
            let seen = |answer: Option<Answer>, chosen| Seen {
                request_id: placement.id,
                lane: in_force.lane,
                activation: in_force.current.activation(),
                request,
                snapshot: &self.snapshot,
                answer: answer.unwrap_or(Answer::NotAsked),
                chosen,
            };
            let mut stands_for_worker = None;
            let choice = match picked.decision {
                Decision::Rank(row) => match self.snapshot.rows().get(row as usize) {
                    Some(row) if choosing.contains(&row.worker) => {
                        stands_for_worker = Some(row.target);
                        Choice::Worker(row.worker)
                    }
                    _ => Choice::Row(row),
                },
                Decision::Worker(worker) => Choice::Worker(WorkerId(worker)),
                Decision::Wait(ms) => {
                    pool.decisions.seen(look, seen(picked.answer, Chosen::Nowhere));
                    return Ok(Verdict::Wait(Duration::from_millis(ms.into())));
                }
                Decision::Reject(rejection) => {
                    pool.decisions.seen(look, seen(picked.answer, Chosen::Nowhere));
                    return Err(rejected(&rejection).into());
                }
                // In the phase prefill only: checked by the host.
                Decision::Skip => {
                    pool.decisions.seen(look, seen(picked.answer, Chosen::Nowhere));
                    return Err(Unplaced::Skipped);
                }
            };
            let booked =
                pool.state.book(&self.snapshot, choice, &placement.request, race == RACES_MAX, clock::now());
            match booked {
                Ok(booking) => {
                    let chosen = match choice {
                        Choice::Row(row) => Chosen::Row(row),
                        Choice::Worker(worker) => Chosen::Worker(worker.0),
                    };
                    let receipt = pool.decisions.seen(look, seen(picked.answer, chosen));
                    let mut placed = self.placed(pool, placement, choice, booking, picked.label)?;
                    (placed.lane, placed.receipt) = (Some(in_force.lane), receipt);
                    if let Some((session, target)) = session.zip(stands_for_worker) {
                        settle(pool, session, target, placement.request.phase);
                    }
                    pool.metrics.lane(in_force.lane).decisions.inc();
                    return Ok(Verdict::Placed(Box::new(placed)));
                }
                Err(Raced::Booked) => pool.metrics.races.inc(),
                Err(Raced::Gone) => {}
            }
        }
        // Only a target that was taken out meanwhile refuses a forced booking.
        Err(Unplaced::NothingToPick)
    }

    /// With the columns that the policy asked for, first; and with more where somebody looks.
    fn take_snapshot(
        &mut self,
        pool: &Pool,
        columns: &[Column],
        placement: &Placement<'_>,
        home: Option<TargetId>,
        mut look: Option<&mut Look>,
    ) {
        let metrics = &pool.metrics;
        let started = look.as_deref_mut().map(Look::start);
        let more = look.as_deref().map(|look| look.columns().to_vec());
        let columns = more.as_deref().unwrap_or(columns);
        let phase = placement.request.phase;
        // KV goes between engines of one kind.
        let kin = placement.peer.map(|peer| (pool.workers.current(), peer.engine));
        let takes = |target: &Target| {
            target.spec.phases.has(phase)
                && kin.as_ref().is_none_or(|(workers, engine)| {
                    workers.get(target.spec.worker).is_some_and(|worker| worker.engine == *engine)
                })
        };
        let mut filter = |target: &Target| {
            // Of another table, rather than left out of this one.
            if !takes(target) {
                return false;
            }
            if placement.keeper.is_some_and(|keeper| keeper.worker != target.spec.worker) {
                metrics.filtered_other_server.inc();
                if let Some(look) = look.as_deref_mut() {
                    look.left_out(target, "other_server");
                }
                return false;
            }
            if placement.failed.contains(&target.id) {
                metrics.filtered_failed.inc();
                if let Some(look) = look.as_deref_mut() {
                    look.left_out(target, "failed");
                }
                return false;
            }
            let reason = match target.health.availability() {
                Availability::Ready => return true,
                Availability::Starting => 0,
                Availability::Unhealthy => 1,
                // Until it is gone it serves the sessions that live there, and what refers to what it keeps.
                Availability::Draining if home == Some(target.id) || placement.keeper.is_some() => {
                    return true;
                }
                Availability::Draining => 2,
            };
            metrics.filtered[reason].inc();
            if let Some(look) = look.as_deref_mut() {
                look.left_out(target, target.health.availability().name());
            }
            false
        };
        pool.state.snapshot(&placement.request, columns, &mut filter, clock::now(), &mut self.snapshot);
        if let Some((look, started)) = look.zip(started) {
            look.times.snapshot = started.elapsed();
        }
    }

    /// Tells of the targets that have no room for the request. Whether there are any.
    fn count_without_room(&self, pool: &Pool, mut look: Option<&mut Look>) -> bool {
        let mut any = false;
        for (target, why) in self.snapshot.without_room() {
            any = true;
            pool.metrics.filtered_room[why as usize].inc();
            if let Some(look) = look.as_deref_mut() {
                look.left_out(target, why.name());
            }
        }
        any
    }

    /// The policy's decision, or the fallback's on the same snapshot.
    fn pick(
        &mut self,
        pool: &Pool,
        in_force: &InForce<'_>,
        request: &PolicyRequest,
        look: Option<&mut Look>,
    ) -> Picked {
        let (mut answer, looked) = (None, look.is_some());
        let snapshot = &self.snapshot;
        let rows = u32::try_from(snapshot.rows().len()).unwrap_or(u32::MAX);
        if let Some(activation) = in_force.current.activation() {
            let table = &snapshot.packed()[..snapshot.rows().len() * activation.needs().columns.len()];
            let has_worker = |worker: u32| snapshot.rows().iter().any(|row| row.worker.0 == worker);
            let picked = if activation.window().rests(clock::now()) {
                Err(PolicyFailure::Resting)
            } else {
                let started = Instant::now();
                let picked = self.policies.pick(activation, request, rows, table, has_worker);
                let elapsed = started.elapsed();
                pool.metrics.policy_call.observe(elapsed.as_secs_f64());
                if let Some(look) = look {
                    look.times.policy = elapsed;
                }
                picked
            };
            answer = looked.then(|| Answer::from(&picked));
            match picked {
                Ok(decision) => {
                    pool.policies.succeeded(in_force.lane, activation, clock::now());
                    return Picked { decision, label: self.label(activation), answer };
                }
                Err(failure) => pool.policies.failed(in_force.lane, activation, &failure, clock::now()),
            }
        }
        let row = match pool.policies.fallback() {
            Fallback::LeastLoaded => fallback::least_loaded(&self.snapshot, request.sequence),
            Fallback::RoundRobin => fallback::round_robin(request.sequence, rows),
        };
        // There is a row: an empty snapshot was refused before.
        Picked { decision: Decision::Rank(row.unwrap_or(0)), label: pool.policies.fallback_label(), answer }
    }

    fn label(&mut self, activation: &Activation) -> HeaderValue {
        match &self.label {
            Some((id, label)) if *id == activation.id() => label.clone(),
            _ => {
                let name = HeaderValue::try_from(activation.version().to_string());
                let label = name.unwrap_or_else(|_| HeaderValue::from_static("unnamed"));
                self.label = Some((activation.id(), label.clone()));
                label
            }
        }
    }

    pub(super) fn placed(
        &self,
        pool: &Pool,
        placement: &Placement<'_>,
        choice: Choice,
        booking: Booking,
        policy: HeaderValue,
    ) -> Result<Placed, Unplaced> {
        let workers = pool.workers.current();
        // Discovery took the worker out between snapshot and now: as if nothing had been there.
        let gone = || Unplaced::NothingToPick;
        match choice {
            Choice::Worker(worker) => {
                let worker = workers.get(worker).ok_or_else(gone)?;
                Ok(Placed {
                    generates: true,
                    booking: Some(booking),
                    policy,
                    ..Placed::at_server(Arc::clone(worker))
                })
            }
            Choice::Row(row) => {
                let target = self.snapshot.target(row).ok_or_else(gone)?;
                let worker = workers.get(target.spec.worker).ok_or_else(gone)?;
                let phase = placement.request.phase;
                let rank =
                    worker.ranks.iter().position(|rank| rank.target.id == target.id).ok_or_else(gone)?;
                if let Some(session) = placement.session() {
                    settle(pool, session, target.id, phase);
                }
                let promise = booking.expected();
                let held = promise.device_blocks + promise.host_blocks + promise.disk_blocks;
                let tokens = |blocks| {
                    worker.engine.expected_cached_tokens(blocks, promise.block_size, promise.prompt_tokens)
                };
                // What is only learned is no promise of the engine's, nor is what it may have evicted meanwhile. And where the prompt
                // comes from elsewhere, all of it is found.
                let now = clock::now();
                let is_known =
                    !target.condition(now).has(Condition::APPROXIMATE) && !target.feed.is_late(now);
                let is_told = phase != Phase::Decode && is_known;
                let expected = placement.request.prompt.filter(|_| is_told).map(|_| Expected {
                    held_tokens: tokens(held),
                    pending_tokens: tokens(held + promise.pending_blocks),
                    block_size: promise.block_size.0,
                });
                if phase != Phase::Decode {
                    let best = self.snapshot.rows().iter().map(|row| row.overlap.held()).max().unwrap_or(0);
                    pool.metrics.overlap_best.inc_by(best.into());
                    pool.metrics.overlap_chosen.inc_by(held.into());
                }
                Ok(Placed {
                    worker: Arc::clone(worker),
                    rank: target.spec.pinnable.then_some(rank),
                    generates: true,
                    overlap_blocks: held,
                    booking: Some(booking),
                    policy,
                    expected,
                    ahead: self.snapshot.rows().get(row as usize).map(|row| row.load),
                    placed_at: Instant::now(),
                    lane: None,
                    receipt: None,
                })
            }
        }
    }
}

/// The rows of these workers stand for all of the worker's ranks.
fn mark_not_pinnable(snapshot: &mut Snapshot, workers: &[WorkerId]) {
    let stands_for_worker: Vec<bool> =
        snapshot.rows().iter().map(|row| workers.contains(&row.worker)).collect();
    let Some(conditions) = snapshot.column_mut(Column::Condition) else { return };
    for (condition, _) in conditions.iter_mut().zip(stands_for_worker).filter(|(_, marked)| *marked) {
        *condition = Condition(*condition).and(Condition::NOT_PINNABLE).0;
    }
}

/// From now on the session lives there.
fn settle(pool: &Pool, session: Session, target: TargetId, phase: Phase) {
    let [new, stayed, moved] = &pool.metrics.session_requests;
    match pool.sessions.settle(session, target, clock::now()) {
        // Counted where its prompt was placed.
        _ if phase == Phase::Decode => {}
        None => new.inc(),
        Some(before) if before == target => stayed.inc(),
        Some(_) => moved.inc(),
    }
}

fn rejected(rejection: &Rejection) -> ProxyError {
    let status = StatusCode::from_u16(rejection.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    ProxyError::new(Stage::Decision, rejection.reason.clone())
        .status(status)
        .retry_after(rejection.retry_after_s)
}
