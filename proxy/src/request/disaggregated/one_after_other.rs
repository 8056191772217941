//! Legs that follow each other: the answer to the first says what the second needs.

use std::rc::Rc;

use rankwise_core::policy::Phase;

use super::super::place::{Placed, Unplaced};
use super::super::prefill::{PrefillEnd, PrefillLeg};
use super::super::send::Leg;
use super::super::story::Story;
use super::super::{Proxy, outgoing};
use super::{Attempt, Tried, peer, skipped};
use crate::error::ProxyError;
use crate::metrics::Way;

impl Proxy {
    /// The first leg, to where it is placed; then the second, decided when the first is done and booked from then on.
    pub(super) async fn one_after_other(
        &self,
        attempt: &Attempt<'_>,
        placed: Placed,
        story: &mut Story,
    ) -> Result<Tried, ProxyError> {
        let Attempt { pool, accepted, transfer, number, .. } = *attempt;
        let fields = transfer.prefill(attempt.is_chat());
        let mut request = outgoing::request(&placed, accepted, &fields)?;
        // It is read here.
        request.headers_mut().remove(http::header::ACCEPT_ENCODING);
        let peer = peer(&placed);
        let leg = PrefillLeg::new(pool, placed);
        let answer_bytes_max = self.shared.settings.prefill_answer_bytes_max;
        let done = match leg.run(Rc::clone(&self.upstream), request, answer_bytes_max).await {
            PrefillEnd::Done(done) => done,
            PrefillEnd::Unsent(failed) | PrefillEnd::Failed(failed) => return Ok(Tried::Again(failed)),
            PrefillEnd::Refused(answer, placed) => {
                story.answered_by(*placed, number);
                return Ok(Tried::Answered(answer));
            }
        };
        story.prefill.done(done.usage);
        let fields = match transfer.handed_over(&done.body, attempt.is_chat()) {
            Ok(Some(fields)) => fields,
            Ok(None) => return Ok(Tried::Whole(Way::NothingKept)),
            Err(error) => {
                tracing::warn!(pool = pool.name, %error, "the answer to a prefill cannot be read");
                return Ok(Tried::Whole(Way::NothingKept));
            }
        };
        drop(done);
        let leg = Leg { phase: Phase::Decode, peer: Some(peer), fields: &fields };
        match self.place_and_send(pool, accepted, &leg, story).await {
            Ok(answer) => Ok(Tried::Answered(answer)),
            Err(Unplaced::Refused(error)) => Err(error),
            Err(Unplaced::NothingToPick) => Ok(Tried::Whole(Way::NoDecode)),
            Err(Unplaced::Skipped) => Err(skipped()),
        }
    }
}
