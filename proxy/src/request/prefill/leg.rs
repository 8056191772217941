//! The first leg of a request: its prompt, computed.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::Request;
use http_body_util::BodyExt;
use rankwise_core::ids::TargetId;
use rankwise_engines::reply::{self, ReplySummary, StreamScanner, Usage};
use smallvec::SmallVec;
use tokio::time::timeout;

use super::super::place::Placed;
use super::super::sent::{failure_of, result_of, tell_if_unconnected};
use super::super::{Answer, head};
use crate::clock;
use crate::decisions::Truth;
use crate::health::Failure;
use crate::metrics::PrefillOutcome;
use crate::pool::Pool;
use crate::upstream::{UpstreamBody, UpstreamPool};

/// A prefill that is booked. Dropped before its end, it was cancelled.
pub(in crate::request) struct PrefillLeg {
    pool: Arc<Pool>,
    placed: Placed,
    started: Instant,
    told: bool,
}

/// How it ended.
pub(in crate::request) enum PrefillEnd {
    /// The prompt is computed.
    Done(Done),
    /// The engine would not have the request, which is the client's own fault: what it says.
    Refused(Answer, Box<Placed>),
    /// The request certainly never came to these.
    Unsent(SmallVec<[TargetId; 4]>),
    /// It failed there.
    Failed(SmallVec<[TargetId; 4]>),
}

/// A prompt that is computed.
pub(in crate::request) struct Done {
    /// The whole answer.
    pub(in crate::request) body: Bytes,
    /// What it says of its tokens.
    pub(in crate::request) usage: Option<Usage>,
}

impl PrefillLeg {
    pub(in crate::request) fn new(pool: &Arc<Pool>, placed: Placed) -> Self {
        Self { pool: Arc::clone(pool), placed, started: Instant::now(), told: false }
    }

    /// Sends it and reads the answer to its end.
    pub(in crate::request) async fn run(
        mut self,
        upstream: Rc<UpstreamPool>,
        request: Request<UpstreamBody>,
        answer_bytes_max: usize,
    ) -> PrefillEnd {
        let worker = Arc::clone(&self.placed.worker);
        let sent = upstream.send(&worker, request, self.pool.limits.upstream()).await;
        self.placed.metrics().attempt(result_of(&sent, |_| false));
        if let Some(failure) = failure_of(&sent) {
            self.placed.failed(&self.pool, failure);
        }
        match sent {
            Ok(answer) if answer.0.status().is_success() => match self.read(answer, answer_bytes_max).await {
                Ok(done) => {
                    self.done(done.usage);
                    PrefillEnd::Done(done)
                }
                Err((failure, why)) => {
                    self.placed.failed(&self.pool, failure);
                    PrefillEnd::Failed(self.failed(&why))
                }
            },
            Ok(answer) if answer.0.status().is_client_error() => {
                self.told = true;
                self.placed.metrics().prefill(PrefillOutcome::Refused);
                let Self { placed, .. } = &mut self;
                PrefillEnd::Refused(answer, Box::new(placed.take()))
            }
            Ok(answer) => PrefillEnd::Failed(self.failed(&format!("status {}", answer.0.status().as_u16()))),
            Err(error) => {
                let is_unconnected = tell_if_unconnected(&self.pool, &worker, &error);
                let targets = self.failed(&error.to_string());
                if !error.is_unsent() {
                    return PrefillEnd::Failed(targets);
                }
                // One address serves all of them.
                let all = worker.ranks.iter().map(|rank| rank.target.id);
                PrefillEnd::Unsent(if is_unconnected { all.collect() } else { targets })
            }
        }
    }

    async fn read(&self, (response, checkout): Answer, bytes_max: usize) -> Result<Done, (Failure, String)> {
        let streamed = head::is_event_stream(response.headers());
        let mut incoming = response.into_body();
        let mut body = BytesMut::new();
        loop {
            match timeout(self.pool.limits.silence_max, incoming.frame()).await {
                Err(_) => return Err((Failure::Silent, "fell silent".to_owned())),
                Ok(None) => break,
                Ok(Some(Err(error))) => return Err((Failure::Broken, error.to_string())),
                Ok(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    if body.len() + data.len() > bytes_max {
                        return Err((
                            Failure::ErrorInAnswer,
                            format!("answer of more than {bytes_max} bytes"),
                        ));
                    }
                    body.extend_from_slice(&data);
                }
            }
        }
        checkout.give_back();
        let body = body.freeze();
        let summary = if streamed { of_stream(&body) } else { reply::body_summary(&body) };
        match summary.error {
            Some(error) => Err((Failure::ErrorInAnswer, error.message)),
            None => Ok(Done { body, usage: summary.usage }),
        }
    }

    /// Its prompt is in the cache, and nothing runs there any more.
    fn done(&mut self, usage: Option<Usage>) {
        self.told = true;
        let now = clock::now();
        if let Some(rank) = self.placed.only_rank() {
            rank.health.answered(now);
        }
        self.placed.metrics().prefill(PrefillOutcome::Done);
        self.placed.end(|booking| {
            booking.first_output(now);
            booking.finish(now);
        });
        self.pool.load_changed();
        if let Some(cached) = usage.and_then(|usage| usage.cached_tokens) {
            self.placed.compare(&self.pool, cached);
        }
        self.learn(PrefillOutcome::Done, usage);
    }

    /// It failed. Where.
    fn failed(&mut self, why: &str) -> SmallVec<[TargetId; 4]> {
        self.told = true;
        tracing::warn!(pool = self.pool.name, target = %self.placed.name(), why, "prefill failed");
        self.placed.metrics().prefill(PrefillOutcome::Failed);
        self.placed.end(|booking| booking.fail_before_send(clock::now()));
        self.pool.load_changed();
        self.learn(PrefillOutcome::Failed, None);
        self.placed.failed_targets().collect()
    }

    fn learn(&self, outcome: PrefillOutcome, usage: Option<Usage>) {
        let Some(receipt) = self.placed.receipt else { return };
        let truth = Truth {
            outcome: format!("prefill {}", outcome.name()),
            prompt_tokens: usage.map(|usage| usage.prompt_tokens),
            cached_tokens: usage.and_then(|usage| usage.cached_tokens),
            completion_tokens: None,
            first_token: None,
            total: self.started.elapsed(),
        };
        self.pool.decisions.learn(receipt, truth);
    }
}

impl Drop for PrefillLeg {
    fn drop(&mut self) {
        if !self.told {
            self.placed.metrics().prefill(PrefillOutcome::Cancelled);
            self.learn(PrefillOutcome::Cancelled, None);
            self.placed.booking = None;
            self.pool.load_changed();
        }
    }
}

/// Longest line of an event stream that is looked into.
const LINE_BYTES_MAX: usize = 64 << 10;

fn of_stream(body: &[u8]) -> ReplySummary {
    let mut scanner = StreamScanner::new(LINE_BYTES_MAX);
    scanner.push(body);
    scanner.finish()
}
