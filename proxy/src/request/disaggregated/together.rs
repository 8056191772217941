//! Legs that are sent at once and meet at a room of the prefill worker.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use rankwise_core::ids::DpRank;
use rankwise_core::policy::Phase;
use rankwise_engines::disaggregation::{Room, meet};

use super::super::place::{self, Placed, Unplaced};
use super::super::prefill::{Pending, PrefillEnd, PrefillLeg};
use super::super::sent::{failure_of, result_of, send_error, tell_if_unconnected};
use super::super::story::Story;
use super::super::{Proxy, outgoing};
use super::{Attempt, Tried, peer, skipped};
use crate::clock;
use crate::error::{ProxyError, Stage};
use crate::metrics::{self, Way};

impl Proxy {
    /// Both legs. The answer is the second one's; the first is read beside it.
    pub(super) async fn together(
        &self,
        attempt: &Attempt<'_>,
        prefill: Placed,
        story: &mut Story,
    ) -> Result<Tried, ProxyError> {
        let Attempt { pool, accepted, number, failed, .. } = *attempt;
        let placement = accepted.placement(Phase::Decode, Some(peer(&prefill)), number, failed);
        let decode = match place::place(&self.decider, pool, &placement).await {
            Ok(placed) => placed,
            Err(Unplaced::Refused(error)) => return Err(error),
            Err(Unplaced::NothingToPick) => return Ok(Tried::Whole(Way::NoDecode)),
            Err(Unplaced::Skipped) => return Err(skipped()),
        };
        let fields = meet(&room(&prefill));
        let outgoing = |placed| outgoing::request(placed, accepted, &fields);
        let mut first = outgoing(&prefill)?;
        first.headers_mut().remove(http::header::ACCEPT_ENCODING);
        let second = outgoing(&decode)?;
        let worker = Arc::clone(&decode.worker);
        story.place(decode, number);
        let leg = PrefillLeg::new(pool, prefill);
        let answer_bytes_max = self.shared.settings.prefill_answer_bytes_max;
        let mut leg: Option<Pending> =
            Some(Box::pin(leg.run(Rc::clone(&self.upstream), first, answer_bytes_max)));
        let mut answer = pin!(self.upstream.send(&worker, second, pool.limits.upstream()));
        let sent = loop {
            let first_end = async {
                match &mut leg {
                    Some(leg) => leg.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                sent = &mut answer => break sent,
                end = first_end => {
                    leg = None;
                    match end {
                        PrefillEnd::Done(done) => story.prefill.done(done.usage),
                        // Without a prompt nothing has been answered, nor will be: the second leg is given up.
                        PrefillEnd::Unsent(failed) => {
                            story.attempted(metrics::Attempt::Cancelled);
                            end_unsent(story);
                            return Ok(Tried::Again(failed));
                        }
                        PrefillEnd::Refused(answer, placed) => {
                            story.attempted(metrics::Attempt::Cancelled);
                            end_unsent(story);
                            story.answered_by(*placed, number);
                            return Ok(Tried::Answered(answer));
                        }
                        // How far it had come is not known, so it is not tried again.
                        PrefillEnd::Failed(_) => {
                            return Err(ProxyError::new(Stage::Upstream, "the prompt could not be computed"));
                        }
                    }
                }
            }
        };
        story.attempted(result_of(&sent, |_| false));
        if let Some(failure) = failure_of(&sent) {
            story.rank_failed(failure);
        }
        match sent {
            Ok(answer) => {
                if let Some(leg) = leg {
                    story.prefill.goes_on(leg);
                }
                Ok(Tried::Answered(answer))
            }
            Err(error) => {
                tracing::warn!(pool = pool.name, worker = worker.name(), attempt = number, %error, "request not answered");
                if !error.is_unsent() {
                    return Err(send_error(&error));
                }
                let mut failed = end_unsent(story);
                if tell_if_unconnected(pool, &worker, &error) {
                    failed.extend(worker.ranks.iter().map(|rank| rank.target.id));
                }
                Ok(Tried::Again(failed))
            }
        }
    }
}

/// A new one, at the worker that computes the prompt, for its rank.
fn room(prefill: &Placed) -> Room {
    let rank = prefill.rank().map(|rank| rank.target.spec.rank);
    let ranks = u32::try_from(prefill.worker.ranks.len()).unwrap_or(u32::MAX);
    let (host, port) = prefill.worker.bootstrap.clone();
    let draw = fastrand::u64(..);
    let chosen = rank.unwrap_or_else(|| DpRank(u32::try_from(draw % u64::from(ranks.max(1))).unwrap_or(0)));
    Room { host, port, number: Room::number(draw, chosen, ranks), prefill_rank: rank }
}

/// The second leg is given up: nothing of it has been answered. Where it was to go.
fn end_unsent(story: &mut Story) -> smallvec::SmallVec<[rankwise_core::ids::TargetId; 4]> {
    let Some(mut placed) = story.take_placed() else { return smallvec::SmallVec::new() };
    placed.end(|booking| booking.fail_before_send(clock::now()));
    placed.failed_targets().collect()
}
