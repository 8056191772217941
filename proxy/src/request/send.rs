//! Sending a request to where it is placed, and placing it again for as long as no engine has it.

use std::sync::Arc;

use rankwise_core::ids::TargetId;
use rankwise_core::policy::Phase;
use rankwise_engines::disaggregation::Field;
use smallvec::SmallVec;

use super::place::{self, Peer, Placed, Unplaced};
use super::sent::{failure_of, result_of, send_error, tell_if_unconnected};
use super::story::Story;
use super::{Accepted, Answer, Proxy, outgoing};
use crate::clock;
use crate::error::{ProxyError, Stage};
use crate::pool::Pool;

/// What of a request is sent.
pub(super) struct Leg<'a> {
    /// All of it, or the part that is answered.
    pub phase: Phase,
    /// Where its prompt was computed, if not where it is answered.
    pub peer: Option<Peer>,
    /// What is written into it besides.
    pub fields: &'a [Field],
}

impl Leg<'static> {
    /// All of it.
    pub(super) const WHOLE: Self = Self { phase: Phase::Aggregated, peer: None, fields: &[] };
}

impl Proxy {
    /// Decides, sends, and decides again while nothing has been sent. The story knows where the answer comes from.
    pub(super) async fn place_and_send(
        &self,
        pool: &Arc<Pool>,
        accepted: &Accepted<'_>,
        leg: &Leg<'_>,
        story: &mut Story,
    ) -> Result<Answer, Unplaced> {
        let mut failed = SmallVec::<[TargetId; 4]>::new();
        // The last answer with a status that another may better: the client's if there is no other.
        let mut declined: Option<(Answer, Placed)> = None;
        // A trusted client's choice is obeyed or fails: there is no other place.
        let retries = if accepted.pin.is_some() { 0 } else { pool.limits.retries };
        for attempt in 0..=retries {
            let placement = accepted.placement(leg.phase, leg.peer, attempt, &failed);
            let placed = match place::place(&self.decider, pool, &placement).await {
                Ok(placed) => story.place(placed, attempt),
                // What went wrong before tells more.
                Err(Unplaced::NothingToPick) if !failed.is_empty() => break,
                // Whatever went wrong before: this is what is said now.
                Err(unplaced) => return Err(unplaced),
            };
            let worker = Arc::clone(&placed.worker);
            let outgoing = outgoing::request(placed, accepted, leg.fields)?;
            let sent = self.upstream.send(&worker, outgoing, pool.limits.upstream()).await;
            let is_declined = |status| attempt < retries && pool.limits.is_retried(status);
            story.attempted(result_of(&sent, is_declined));
            if let Some(failure) = failure_of(&sent) {
                story.rank_failed(failure);
            }
            match sent {
                Ok(answer) if is_declined(answer.0.status()) => {
                    let status = answer.0.status().as_u16();
                    tracing::debug!(pool = pool.name, worker = worker.name(), attempt, status, "declined");
                    if let Some(mut placed) = story.take_placed() {
                        failed.extend(placed.failed_targets());
                        placed.end(|booking| booking.fail_before_send(clock::now()));
                        declined = Some((answer, placed));
                    }
                }
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    tracing::warn!(pool = pool.name, worker = worker.name(), attempt, %error, "request not answered");
                    if !error.is_unsent() {
                        return Err(send_error(&error).into());
                    }
                    if tell_if_unconnected(pool, &worker, &error) {
                        // One address serves all of them: trying each would use up the retries.
                        failed.extend(worker.ranks.iter().map(|rank| rank.target.id));
                    }
                    if let Some(mut placed) = story.take_placed() {
                        failed.extend(placed.failed_targets());
                        placed.end(|booking| booking.fail_before_send(clock::now()));
                    }
                }
            }
            pool.load_changed();
            if attempt < retries {
                pool.metrics.retries.inc();
            }
        }
        match declined {
            Some((answer, placed)) => {
                story.put_back(placed);
                Ok(answer)
            }
            None => Err(ProxyError::new(Stage::Connect, "no connection to an engine").into()),
        }
    }
}
