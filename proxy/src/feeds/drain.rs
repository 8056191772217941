//! The events of a worker that tells each of them once, to whoever asks first: one task per worker, one question at a time.
//!
//! What comes is applied to the ranks' parts of the index as soon as it comes. While nothing does, the pauses grow up to the
//! configured one; a version that waits for events itself sets the pace instead.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rankwise_core::event::CacheEvent;
use rankwise_core::target::Target;
use rankwise_engines::feed::{Completeness, FeedAction, FeedCounters};
use rankwise_engines::trtllm::drain::{Drain, Strays};
use rankwise_engines::trtllm::events::PATH;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::config::EventLimits;
use crate::metrics::TargetMetrics;
use crate::pool::Pool;
use crate::upstream::{FetchError, KeptOrigin};

/// The feed of all ranks of a worker.
pub struct DrainFeed {
    /// Whose index it writes.
    pub pool: Arc<Pool>,
    /// The ranks, in order.
    pub ranks: Vec<DrainedTarget>,
    /// Where they are drained.
    pub origin: KeptOrigin,
    /// The adapter's state machine.
    pub drain: Drain,
    /// For logs: `worker a`.
    pub place: String,
    /// Bounds.
    pub limits: EventLimits,
    /// Wakes the worker's supervisor when nobody listens there.
    pub alarm: Arc<Notify>,
}

/// One of its ranks.
pub struct DrainedTarget {
    target: Arc<Target>,
    metrics: TargetMetrics,
    /// What the metrics already hold.
    reported: FeedCounters,
}

impl DrainedTarget {
    /// Of which nothing is known yet.
    pub fn new(target: Arc<Target>, metrics: TargetMetrics) -> Self {
        Self { target, metrics, reported: FeedCounters::default() }
    }
}

/// The first pause when nothing came, and the longest while the worker does not answer.
const PAUSE: Duration = Duration::from_millis(5);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Runs the feed until it is stopped.
pub async fn run_drain(mut feed: DrainFeed, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = feed.poll() => {}
    }
    for rank in &feed.ranks {
        rank.metrics.event_connected.set(0);
    }
}

impl DrainFeed {
    async fn poll(&mut self) {
        let (mut pause, mut said, mut strays) = (PAUSE, None, Strays::default());
        loop {
            let mut actions = Vec::new();
            let longest = match self.ask(&mut actions).await {
                Ok(events) => {
                    if said.take().is_some() {
                        tracing::info!(place = self.place, "events are drained again");
                    }
                    if events > 0 {
                        pause = PAUSE;
                    }
                    self.limits.drain_interval
                }
                Err(error) => {
                    if said.as_ref() != Some(&error) {
                        tracing::warn!(place = self.place, error, "events not drained");
                        said = Some(error);
                    }
                    RETRY_PAUSE_MAX
                }
            };
            self.obey(&actions);
            self.report();
            self.tell_strays(&mut strays);
            sleep(pause.min(longest)).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Takes what has come since; the number of events.
    async fn ask(&mut self, out: &mut Vec<(usize, FeedAction)>) -> Result<usize, String> {
        let EventLimits { drain_bytes_max, drain_timeout, .. } = self.limits;
        let answer = self.origin.post(PATH, Bytes::new(), drain_bytes_max, drain_timeout).await;
        match answer {
            Ok(answer) if answer.status.is_success() => {
                self.drain.answered(&answer.body, out).map_err(|error| error.to_string())
            }
            Ok(answer) => {
                self.drain.failed(false, clock::now(), out);
                Err(format!("{PATH}: status {}", answer.status.as_u16()))
            }
            Err(error) => {
                let gone = FetchError::is_refused(&error);
                if gone {
                    self.alarm.notify_one();
                }
                self.drain.failed(gone, clock::now(), out);
                Err(format!("{PATH}: {error}"))
            }
        }
    }

    /// Does what the state machine asks.
    fn obey(&mut self, actions: &[(usize, FeedAction)]) {
        for of_rank in actions.chunk_by(|(one, _), (other, _)| one == other) {
            let number = of_rank.first().map_or(0, |(number, _)| *number);
            let lacks_parent = self.ranks.get(number).is_some_and(|rank| self.apply(rank, of_rank));
            if lacks_parent {
                self.drain.unknown_parent(number);
            }
        }
    }

    /// Whether the index lacks a parent.
    fn apply(&self, rank: &DrainedTarget, actions: &[(usize, FeedAction)]) -> bool {
        let (state, id) = (&self.pool.state, rank.target.id);
        let mut unknown_parent = false;
        let mut apply = |events: &mut Vec<CacheEvent>| {
            unknown_parent |= state.apply_batch(id, events, clock::now()).unknown_parent;
            events.clear();
        };
        let mut events = Vec::new();
        for (_, action) in actions {
            match action {
                FeedAction::Apply(event) => events.push(event.clone()),
                FeedAction::Clear => {
                    apply(&mut events);
                    state.clear_cache(id);
                }
                // A drain has neither.
                FeedAction::Restore | FeedAction::RequestReplay { .. } => {}
            }
        }
        apply(&mut events);
        unknown_parent
    }

    fn report(&mut self) {
        let missing_since = self.drain.missing_since();
        for (rank, drained) in self.ranks.iter_mut().zip(self.drain.ranks()) {
            let now = *drained.counters();
            let before = std::mem::replace(&mut rank.reported, now);
            rank.metrics.event_messages.inc_by(now.messages.saturating_sub(before.messages));
            rank.metrics.event_gaps.inc_by(now.gaps.saturating_sub(before.gaps));
            rank.metrics.event_restarts.inc_by(now.restarts.saturating_sub(before.restarts));
            let errors = |counters: &FeedCounters| counters.decode_errors + counters.lost;
            rank.metrics.event_errors.inc_by(errors(&now).saturating_sub(errors(&before)));
            if now.gaps > before.gaps {
                let dp_rank = rank.target.spec.rank.0;
                tracing::warn!(
                    place = self.place,
                    dp_rank,
                    "events are missing: does somebody else drain them, or is event_buffer_max_size too small?"
                );
            }
            let complete = missing_since.is_none() && drained.completeness() == Completeness::Complete;
            rank.metrics.event_connected.set(i64::from(complete));
            rank.target.feed.set_missing_since(missing_since);
            rank.target.feed.set_next_sequence(drained.expected());
            rank.target.feed.set_trusted(drained.completeness() != Completeness::Unreplayed);
        }
    }

    /// Once for each kind, not for each event.
    fn tell_strays(&self, before: &mut Strays) {
        let now = self.drain.strays();
        if now.unnamed > 0 && before.unnamed == 0 {
            tracing::error!(
                place = self.place,
                ranks = self.ranks.len(),
                "events name no rank: the server runs without attention DP, and all of its GPUs are one rank"
            );
        }
        if now.beyond > 0 && before.beyond == 0 {
            tracing::error!(
                place = self.place,
                ranks = self.ranks.len(),
                "events name a rank beyond those by config"
            );
        }
        *before = now;
    }
}
