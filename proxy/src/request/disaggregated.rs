//! Requests in two legs, where a pool has workers that compute prompts for others: one decision for the rank that computes the
//! prompt, one for the rank that answers, each booked for what it does there, each pinned.
//!
//! What cannot be sent so is run whole: more than one answer, an API that the engines do not split, a client's own pin, a policy that
//! skips the prefill, a phase without a rank. While nothing was sent to the rank that answers, a prefill that fails is decided
//! again; afterwards nothing is.

mod one_after_other;
mod together;

use std::sync::Arc;

use rankwise_core::ids::TargetId;
use rankwise_core::policy::Phase;
use rankwise_engines::disaggregation::Transfer;
use rankwise_prompt::Api;
use smallvec::SmallVec;

use super::place::{self, Peer, Placed, Unplaced};
use super::prefill::PrefillRecord;
use super::send::Leg;
use super::story::Story;
use super::{Accepted, Answer, Proxy};
use crate::error::{ProxyError, Stage};
use crate::metrics::Way;
use crate::pool::Pool;

/// What came of trying it in two legs.
enum Tried {
    /// An engine answers.
    Answered(Answer),
    /// It has to be run whole.
    Whole(Way),
    /// Nothing was sent to the rank that answers; these failed.
    Again(SmallVec<[TargetId; 4]>),
}

impl Proxy {
    /// In two legs where the pool has ranks for that, or else whole.
    pub(super) async fn serve(
        &self,
        pool: &Arc<Pool>,
        accepted: &Accepted<'_>,
        story: &mut Story,
    ) -> Result<Answer, ProxyError> {
        if pool.workers.current().has_prefill() {
            let way = if is_divisible(accepted) {
                match self.in_legs(pool, accepted, story).await? {
                    Ok(answer) => {
                        pool.metrics.way(Way::Legs).inc();
                        return Ok(answer);
                    }
                    Err(way) => way,
                }
            } else {
                Way::Indivisible
            };
            pool.metrics.way(way).inc();
            story.prefill = PrefillRecord::default();
        }
        match self.place_and_send(pool, accepted, &Leg::WHOLE, story).await {
            Ok(answer) => Ok(answer),
            Err(Unplaced::Refused(error)) => Err(error),
            Err(Unplaced::NothingToPick) => Err(accepted.nothing_to_pick(pool)),
            Err(Unplaced::Skipped) => Err(skipped()),
        }
    }

    /// The answer, or why it is to be run whole.
    async fn in_legs(
        &self,
        pool: &Arc<Pool>,
        accepted: &Accepted<'_>,
        story: &mut Story,
    ) -> Result<Result<Answer, Way>, ProxyError> {
        let mut failed = SmallVec::<[TargetId; 4]>::new();
        for number in 0..=pool.limits.retries {
            let placement = accepted.placement(Phase::Prefill, None, number, &failed);
            let placed = match place::place(&self.decider, pool, &placement).await {
                Ok(placed) => placed,
                Err(Unplaced::Refused(error)) => return Err(error),
                Err(Unplaced::Skipped) => return Ok(Err(Way::Skipped)),
                Err(Unplaced::NothingToPick) if failed.is_empty() => return Ok(Err(Way::NoPrefill)),
                Err(Unplaced::NothingToPick) => break,
            };
            let Some(transfer) = placed.worker.engine.transfer() else { return Ok(Err(Way::NoPrefill)) };
            story.prefill.begin(&placed);
            let attempt = Attempt { pool, accepted, transfer, number, failed: &failed };
            let tried = match transfer {
                Transfer::BootstrapRoom => self.together(&attempt, placed, story).await?,
                _ => self.one_after_other(&attempt, placed, story).await?,
            };
            match tried {
                Tried::Answered(answer) => return Ok(Ok(answer)),
                Tried::Whole(way) => return Ok(Err(way)),
                Tried::Again(targets) => {
                    failed.extend(targets);
                    pool.load_changed();
                    if number < pool.limits.retries {
                        pool.metrics.retries.inc();
                    }
                }
            }
        }
        Ok(Err(Way::PrefillFailed))
    }
}

/// One attempt at both legs.
struct Attempt<'a> {
    pool: &'a Arc<Pool>,
    accepted: &'a Accepted<'a>,
    transfer: Transfer,
    number: u32,
    /// Targets that failed this request before.
    failed: &'a [TargetId],
}

impl Attempt<'_> {
    fn is_chat(&self) -> bool {
        self.accepted.api == Api::ChatCompletions
    }
}

/// Whether the engines split it: one answer, of an API that they split.
fn is_divisible(accepted: &Accepted<'_>) -> bool {
    let api = matches!(accepted.api, Api::ChatCompletions | Api::Completions);
    api && accepted.pin.is_none() && accepted.fields.sequences <= 1
}

/// The prefill's place, for the decision about the answer's.
fn peer(placed: &Placed) -> Peer {
    Peer { target: placed.rank().map(|rank| rank.target.id), engine: placed.worker.engine }
}

fn skipped() -> ProxyError {
    ProxyError::new(Stage::Internal, "skip outside of prefill")
}
