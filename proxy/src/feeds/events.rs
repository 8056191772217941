//! The event feed of one rank: sockets around the adapter's state machine.
//!
//! One task per rank. It owns the SUB socket, reconnects it, and keeps the rank's part of the index equal to what the
//! engine said. If the task lags, TCP pushes back and the engine drops messages, which shows as a gap and is replayed:
//! nothing here grows with the delay.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rankwise_core::event::CacheEvent;
use rankwise_core::image::Image;
use rankwise_core::target::Target;
use rankwise_engines::events::Skipped;
use rankwise_engines::feed::{Completeness, Feed, FeedAction, FeedCounters, FeedPhase};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use zeromq::{Socket, SocketEvent, SocketRecv, SubSocket};

use super::replay::{ReplayReply, Replays};
use super::subscribe::subscribe;
use super::{ColdRank, FeedPosition, Promises};
use crate::clock;
use crate::metrics::TargetMetrics;
use crate::pool::Pool;

/// Where a rank publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSource {
    /// The PUB socket.
    pub endpoint: String,
    /// The ROUTER that replays.
    pub replay: Option<String>,
    /// Empty: everything.
    pub topic: String,
}

/// One rank's feed.
pub struct EventFeed {
    /// Whose index it writes.
    pub pool: Arc<Pool>,
    /// Which rank.
    pub target: Arc<Target>,
    /// Where from.
    pub source: EventSource,
    /// The adapter's state machine.
    pub feed: Feed,
    /// Counters.
    pub metrics: TargetMetrics,
    /// For logs: `worker a rank 0`.
    pub place: String,
    /// For connecting.
    pub connect_timeout: Duration,
    /// What the metrics already hold.
    pub reported: FeedCounters,
    /// The same of events that were not indexed.
    pub reported_skips: Skipped,
    /// Where requests see whether the rank's roots are cold; none where they are left so.
    pub cold: Option<Arc<ColdRank>>,
    /// Whether blocks that are stored again are being counted as copies.
    pub copies_counted: bool,
    /// What an earlier process kept of the rank, until it is brought back or of no use.
    pub kept: Option<Image>,
    /// Where it says how far it is, for what the rank holds to be kept; none where nothing is.
    pub position: Option<Arc<FeedPosition>>,
    /// What the rank's answers say of it.
    pub promises: Arc<Promises>,
    /// Told by the supervisor that the rank's part of the index was emptied.
    pub emptied: Arc<Notify>,
    /// Wakes the worker's supervisor.
    pub alarm: Arc<Notify>,
    /// Whether it was late when it was last looked at.
    pub late: bool,
}

/// Why it is not connected any more.
#[derive(Debug, thiserror::Error)]
enum Lost {
    /// The rank's end of it was closed.
    #[error("the publisher closed the connection")]
    Closed,
    #[error(transparent)]
    Failed(#[from] zeromq::ZmqError),
}

const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);

/// A subscription takes effect some time after it is sent, and a message published before that is never delivered. If
/// it was the last one for now, no gap would ever show: so the tail is asked for again, soon after connecting and
/// whenever the rank has been quiet for long.
const TAIL_CHECK_FIRST: Duration = Duration::from_millis(250);
const TAIL_CHECK: Duration = Duration::from_secs(30);

/// Runs the feed until it is stopped.
pub async fn run(mut feed: EventFeed, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = feed.stay_connected() => {}
    }
    feed.metrics.event_connected.set(0);
}

impl EventFeed {
    async fn stay_connected(&mut self) {
        let mut pause = RECONNECT_PAUSE;
        loop {
            let connected = Instant::now();
            match subscribe(&self.source.topic, &self.source.endpoint, self.connect_timeout).await {
                Ok(socket) => {
                    tracing::info!(place = self.place, endpoint = self.source.endpoint, "events connected");
                    let error = self.listen(socket).await;
                    tracing::warn!(place = self.place, %error, "events disconnected");
                    let mut actions = Vec::new();
                    self.feed.disconnected(clock::now());
                    match error {
                        // The socket lives and dies with the rank's process.
                        Lost::Closed => {
                            self.target.feed.set_closed(true);
                            self.pool.publisher_gone(&self.target);
                        }
                        Lost::Failed(_) => self.alarm.notify_one(),
                    }
                    self.act(&mut actions, &mut Replays::default());
                }
                Err(error) => tracing::debug!(place = self.place, %error, "events not connected"),
            }
            if connected.elapsed() > RECONNECT_PAUSE_MAX {
                pause = RECONNECT_PAUSE;
            }
            sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
        }
    }

    /// Reads until the connection is gone.
    async fn listen(&mut self, mut socket: SubSocket) -> Lost {
        let mut monitor = socket.monitor();
        let mut replays = Replays::default();
        let mut actions = Vec::new();
        self.feed.connected(clock::now(), &mut actions);
        self.act(&mut actions, &mut replays);
        let mut tail_check = Instant::now() + TAIL_CHECK_FIRST;
        loop {
            let deadline = self
                .feed
                .deadline()
                .map_or(Duration::from_secs(3600), |at| Duration::from_millis(at.since(clock::now())));
            tokio::select! {
                message = socket.recv() => match message {
                    Ok(message) => {
                        tail_check = Instant::now() + TAIL_CHECK;
                        self.metrics.event_messages.inc();
                        self.feed.live(&message.into_vec(), clock::now(), &mut actions);
                    }
                    Err(error) => return error.into(),
                },
                event = monitor.next() => if let Some(SocketEvent::Disconnected(_)) | None = event {
                    return Lost::Closed;
                },
                reply = replays.next() => match reply {
                    ReplayReply::Message { id, frames } => self.feed.replay(id, &frames, clock::now(), &mut actions),
                    ReplayReply::Failed { id } => self.feed.replay_failed(id, clock::now(), &mut actions),
                },
                () = self.emptied.notified() => self.feed.emptied(clock::now(), &mut actions),
                times = self.promises.disproved() => {
                    tracing::error!(
                        place = self.place,
                        times,
                        "its answers say that less was cached than its kv events do: not trusted, and read again"
                    );
                    self.feed.disproved(times, clock::now(), &mut actions);
                }
                () = sleep(deadline) => self.feed.tick(clock::now(), &mut actions),
                () = tokio::time::sleep_until(tail_check) => {
                    tail_check = Instant::now() + TAIL_CHECK;
                    if self.source.replay.is_some() && self.feed.phase() == FeedPhase::Live {
                        self.feed.check_tail(clock::now(), &mut actions);
                    }
                }
            }
            self.act(&mut actions, &mut replays);
        }
    }

    /// Does what the state machine asks, and says how it stands.
    fn act(&mut self, actions: &mut Vec<FeedAction>, replays: &mut Replays) {
        match self.position.clone() {
            None => self.obey(actions, replays),
            Some(position) => position.move_on(|| {
                self.obey(actions, replays);
                self.feed.checkpoint()
            }),
        }
        self.report();
    }

    fn obey(&mut self, actions: &mut Vec<FeedAction>, replays: &mut Replays) {
        let id = self.target.id;
        self.count_copies();
        let mut unknown_parent = false;
        let mut events = Vec::new();
        let state = Arc::clone(&self.pool.state);
        let apply = |events: &mut Vec<CacheEvent>| {
            let applied = state.apply_batch(id, events, clock::now());
            events.clear();
            applied.unknown_parent
        };
        // Bounded: an unknown parent asks for a resync at most once in a while.
        while !actions.is_empty() {
            for action in actions.drain(..) {
                match action {
                    FeedAction::Clear => {
                        unknown_parent |= apply(&mut events);
                        state.clear_cache(id);
                        self.kept = None;
                    }
                    FeedAction::Restore => {
                        let Some(image) = self.kept.take() else { continue };
                        let restored = state.restore(id, &image, clock::now());
                        tracing::info!(
                            place = self.place,
                            blocks = image.names(),
                            restored,
                            "index of an earlier process"
                        );
                    }
                    FeedAction::Apply(event) => events.push(event),
                    FeedAction::RequestReplay { from, id } => {
                        self.metrics.event_replays.inc();
                        replays.start(self.source.replay.clone(), from, id);
                    }
                }
            }
            unknown_parent |= apply(&mut events);
            if std::mem::take(&mut unknown_parent) {
                if let Some(cold) = &self.cold {
                    cold.unknown_parent(clock::now());
                }
                self.feed.unknown_parent(clock::now(), actions);
            }
        }
    }

    /// Before events are applied: some may be reports that a request asked for.
    fn count_copies(&mut self) {
        let counted = !self.cold.as_ref().is_some_and(|cold| cold.copies_unreliable());
        if std::mem::replace(&mut self.copies_counted, counted) != counted {
            self.pool.state.count_copies(self.target.id, counted);
        }
    }

    fn report(&mut self) {
        let now = *self.feed.counters();
        let before = std::mem::replace(&mut self.reported, now);
        self.metrics.event_gaps.inc_by(now.gaps.saturating_sub(before.gaps));
        self.metrics.event_restarts.inc_by(now.restarts.saturating_sub(before.restarts));
        let errors = |counters: &FeedCounters| {
            counters.malformed + counters.decode_errors + counters.wrong_rank + counters.lost
        };
        self.metrics.event_errors.inc_by(errors(&now).saturating_sub(errors(&before)));
        if now.wrong_rank > before.wrong_rank {
            tracing::error!(place = self.place, "events name another rank: is the event endpoint right?");
        }
        let skipped = *self.feed.skipped();
        if self.metrics.skipped(&skipped, &self.reported_skips) {
            let expected = self.target.spec.block_size.0;
            tracing::error!(
                place = self.place,
                expected,
                "events are of blocks of another size: set block_size for the worker"
            );
        }
        self.reported_skips = skipped;
        let live = self.feed.phase() == FeedPhase::Live;
        if let Some(cold) = &self.cold {
            if now.lost > before.lost {
                cold.lost();
            }
            if live {
                cold.completeness(self.feed.completeness());
            }
        }
        self.metrics
            .event_connected
            .set(i64::from(live && self.feed.completeness() == Completeness::Complete));
        self.target.feed.set_missing_since(self.feed.missing_since());
        if live {
            self.target.feed.set_closed(false);
        }
        let late = self.target.feed.is_late(clock::now());
        if std::mem::replace(&mut self.late, late) != late {
            match late {
                true => {
                    tracing::warn!(place = self.place, "events are missing: not trusted until they have come")
                }
                false => tracing::info!(place = self.place, "events have caught up"),
            }
        }
        self.target.feed.set_next_sequence(self.feed.expected());
        self.target.feed.set_trusted(self.feed.completeness() != Completeness::Unreplayed);
    }
}
