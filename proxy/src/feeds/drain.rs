//! The events of a worker that tells each of them once, to whoever asks first: one task per worker, one question at a time.
//!
//! What comes is applied to the ranks' parts of the index as soon as it comes. While nothing does, the pauses grow up to the
//! configured one; a version that waits for events itself sets the pace instead.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rankwise_core::event::CacheEvent;
use rankwise_core::target::Target;
use rankwise_engines::events::Skipped;
use rankwise_engines::feed::{Completeness, FeedAction, FeedCounters};
use rankwise_engines::trtllm::drain::{Drain, Strays};
use rankwise_engines::trtllm::events::{self as wire, Event, PATH};
use tokio::sync::Notify;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Promises;
use super::claims::{DrainClaim, DrainClaims};
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
    /// The same, as `host:port`.
    pub address: String,
    /// Who drains which address.
    pub claims: Arc<DrainClaims>,
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
    promises: Arc<Promises>,
    /// What the metrics already hold.
    reported: FeedCounters,
    reported_skips: Skipped,
}

impl DrainedTarget {
    /// Of which nothing is known yet.
    pub fn new(target: Arc<Target>, metrics: TargetMetrics, promises: Arc<Promises>) -> Self {
        Self {
            target,
            metrics,
            promises,
            reported: FeedCounters::default(),
            reported_skips: Skipped::default(),
        }
    }
}

/// The first pause when nothing came, and the longest while the worker does not answer.
const PAUSE: Duration = Duration::from_millis(5);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Longest answer that is read where it came: some milliseconds of work.
const INLINE_BYTES_MAX: usize = 256 << 10;
/// Events that are applied before others get their turn.
const PIECE: usize = 512;

/// Runs the feed until it is stopped.
pub async fn run_drain(mut feed: DrainFeed, stop: CancellationToken) {
    let claimed = async {
        let _claim = feed.claim().await;
        feed.poll().await;
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = claimed => {}
    }
    for rank in &feed.ranks {
        rank.metrics.event_connected.set(0);
    }
}

impl DrainFeed {
    /// The right to drain the worker, once nobody else has it. Its ranks are not trusted until then.
    async fn claim(&mut self) -> DrainClaim {
        self.report();
        let tell = |owner: &str| {
            tracing::error!(
                place = self.place,
                address = self.address,
                owner,
                "events not drained: somebody drains this address already, and each event is told once"
            );
        };
        self.claims.wait(&self.address, &format!("pool {} {}", self.pool.name, self.place), tell).await
    }

    async fn poll(&mut self) {
        let (mut pause, mut said, mut strays) = (PAUSE, None, Strays::default());
        loop {
            let longest = match self.ask().await {
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
            self.doubt_disproved();
            self.report();
            self.tell_strays(&mut strays);
            sleep(pause.min(longest)).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Takes what has come since, and applies it; the number of events.
    async fn ask(&mut self) -> Result<usize, String> {
        let EventLimits { drain_bytes_max, drain_timeout, .. } = self.limits;
        let answer = self.origin.post(PATH, Bytes::new(), drain_bytes_max, drain_timeout).await;
        let mut actions = Vec::new();
        let told = match answer {
            Ok(answer) if answer.status.is_success() => match decode(answer.body).await {
                Ok(events) => {
                    self.take(&events).await;
                    Ok(events.len())
                }
                Err(error) => {
                    self.drain.unreadable(&mut actions);
                    Err(error)
                }
            },
            Ok(answer) => {
                self.drain.failed(false, clock::now(), &mut actions);
                Err(format!("{PATH}: status {}", answer.status.as_u16()))
            }
            Err(error) => {
                let gone = FetchError::is_refused(&error);
                if gone {
                    self.alarm.notify_one();
                }
                match error {
                    // What it began to tell it has told, and tells nobody again.
                    FetchError::Body(_) => self.drain.unreadable(&mut actions),
                    _ => self.drain.failed(gone, clock::now(), &mut actions),
                }
                Err(format!("{PATH}: {error}"))
            }
        };
        self.obey(&actions);
        told
    }

    async fn take(&mut self, events: &[Event]) {
        let mut actions = Vec::new();
        // Nothing is an answer too.
        self.drain.answered(&[], &mut actions);
        for piece in events.chunks(PIECE) {
            self.drain.answered(piece, &mut actions);
            self.obey(&actions);
            actions.clear();
            yield_now().await;
        }
    }

    /// Ranks whose answers say that they do not hold what their events do.
    fn doubt_disproved(&mut self) {
        let mut actions = Vec::new();
        for (number, rank) in self.ranks.iter().enumerate() {
            if rank.promises.take_disproved().is_some() {
                let dp_rank = rank.target.spec.rank.0;
                tracing::error!(
                    place = self.place,
                    dp_rank,
                    "its answers say that less was cached than its kv events do: not trusted"
                );
                self.drain.disproved(number, &mut actions);
            }
        }
        self.obey(&actions);
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

    /// Says how it stands with each rank.
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
            let skipped = *drained.skipped();
            if rank.metrics.skipped(&skipped, &rank.reported_skips) {
                let (dp_rank, expected) = (rank.target.spec.rank.0, rank.target.spec.block_size.0);
                tracing::error!(
                    place = self.place,
                    dp_rank,
                    expected,
                    "events are of blocks of another size: set block_size to the server's tokens_per_block"
                );
            }
            rank.reported_skips = skipped;
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

/// Reads an answer, elsewhere if it is long: this thread serves all workers.
async fn decode(body: Bytes) -> Result<Vec<Event>, String> {
    let decoded = if body.len() > INLINE_BYTES_MAX {
        spawn_blocking(move || wire::decode(&body)).await.map_err(|error| error.to_string())?
    } else {
        wire::decode(&body)
    };
    decoded.map_err(|error| error.to_string())
}
