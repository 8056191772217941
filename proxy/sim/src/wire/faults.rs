//! Misbehaviour on demand: what real engines were seen to do wrong, or could.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// One way to misbehave. Lasts until [`crate::WorkerHandle::heal`] unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Generation requests are read and never answered.
    Stall,
    /// The head of the answer comes so much later (wall time).
    SlowFirstByte(Duration),
    /// The connection is reset (RST) after so many chunks of a stream.
    ResetAfter(usize),
    /// The sending side is closed after so many chunks of a stream, the receiving side stays open.
    HalfCloseAfter(usize),
    /// The port refuses connections; those that exist stay.
    RefuseConnections,
    /// From its next start on, its port refuses connections for so long (wall time) after each, as by an engine that loads its model.
    SlowStart(Duration),
    /// Generation requests are answered 500.
    ServerError,
    /// Generation requests are answered 200 with an error event in the stream.
    StreamError,
    /// Generation requests are answered 200 and `finish_reason` abort after the first token, as by a worker whose other rank died.
    AbortAfterFirst,
    /// Batches of KV events claim to be of this rank.
    LieAboutRank(u32),
    /// The next so many batches of each rank take their sequence number and are not sent; replay has them. Of TensorRT-LLM without
    /// the shim so many events are lost.
    DropEvents(u32),
    /// Batches of KV events are sent so much later (wall time), in order. Replay has them at once.
    LateEvents(Duration),
    /// Replay requests are not answered.
    NoReplay,
    /// This rank keeps its KV events to itself: no batch, no sequence number.
    SilentRank(u32),
    /// This rank is gone and the worker's others serve on, as if they did not wait for it: what ran there breaks off, requests to it
    /// are answered 500, its event sockets are closed. Healed, it comes back empty and counts its events from 0.
    DeadRank(u32),
    /// The same as its server takes it that does not know yet, as vLLM's was seen to: requests to it, and those that ran there, are
    /// answered 500 when so long (wall time) has passed, streams break off then, and what comes later is read and never answered.
    DyingRank(u32, Duration),
    /// Requests to this rank are read and never answered, nor are requests to replay its events.
    HungRank(u32),
    /// What it answers about its load stays as it is now; what ranks publish of it goes on.
    StaleMetrics,
    /// The pinned rank is ignored: the next one serves the request.
    IgnorePin,
    /// Health checks are answered 503, as by an engine that is still starting or drains; it serves all the same.
    Unhealthy,
}

/// What a worker does wrong at the moment.
#[derive(Debug, Default)]
pub(crate) struct Faults(watch::Sender<Active>);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Active {
    pub(crate) stall: bool,
    pub(crate) slow_first_byte: Option<Duration>,
    pub(crate) reset_after: Option<usize>,
    pub(crate) half_close_after: Option<usize>,
    pub(crate) server_error: bool,
    pub(crate) stream_error: bool,
    pub(crate) abort_after_first: bool,
    pub(crate) rank_claimed: Option<u32>,
    pub(crate) refuse_connections: bool,
    pub(crate) slow_start: Option<Duration>,
    pub(crate) late_events: Option<Duration>,
    pub(crate) no_replay: bool,
    pub(crate) silent_rank: Option<u32>,
    pub(crate) dead_rank: Option<u32>,
    pub(crate) dying_rank: Option<Dying>,
    pub(crate) hung_rank: Option<u32>,
    pub(crate) ignore_pin: bool,
    pub(crate) unhealthy: bool,
}

/// A rank that has died.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dying {
    rank: u32,
    /// When its server knows.
    noticed: Instant,
}

impl Active {
    /// Whether the rank's process is gone.
    pub(crate) fn is_gone(&self, rank: usize) -> bool {
        let is_it = |gone: u32| gone as usize == rank;
        self.dead_rank.is_some_and(is_it) || self.dying_rank.is_some_and(|dying| is_it(dying.rank))
    }

    /// How its server takes it, if it does not know at once.
    pub(crate) fn dying(&self, rank: usize) -> Option<Dying> {
        self.dying_rank.filter(|dying| dying.rank as usize == rank)
    }
}

impl Dying {
    /// Whether its server knows by now.
    pub(crate) fn is_noticed(&self) -> bool {
        Instant::now() >= self.noticed
    }

    /// Waits until it does.
    pub(crate) async fn noticed(&self) {
        tokio::time::sleep_until(self.noticed).await;
    }
}

impl Faults {
    pub(crate) fn now(&self) -> Active {
        *self.0.borrow()
    }

    /// What is wrong now, and whenever that changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Active> {
        self.0.subscribe()
    }

    pub(crate) fn heal(&self) {
        self.0.send_replace(Active::default());
    }

    /// Notes a fault, to be looked up when its moment comes.
    pub(crate) fn set(&self, fault: Fault) {
        self.0.send_modify(|active| match fault {
            Fault::Stall => active.stall = true,
            Fault::SlowFirstByte(delay) => active.slow_first_byte = Some(delay),
            Fault::ResetAfter(chunks) => active.reset_after = Some(chunks),
            Fault::HalfCloseAfter(chunks) => active.half_close_after = Some(chunks),
            Fault::RefuseConnections => active.refuse_connections = true,
            Fault::SlowStart(loading) => active.slow_start = Some(loading),
            Fault::ServerError => active.server_error = true,
            Fault::StreamError => active.stream_error = true,
            Fault::AbortAfterFirst => active.abort_after_first = true,
            Fault::LieAboutRank(rank) => active.rank_claimed = Some(rank),
            Fault::LateEvents(delay) => active.late_events = Some(delay),
            Fault::NoReplay => active.no_replay = true,
            Fault::SilentRank(rank) => active.silent_rank = Some(rank),
            Fault::DeadRank(rank) => active.dead_rank = Some(rank),
            Fault::DyingRank(rank, after) => {
                active.dying_rank = Some(Dying { rank, noticed: Instant::now() + after });
            }
            Fault::HungRank(rank) => active.hung_rank = Some(rank),
            Fault::IgnorePin => active.ignore_pin = true,
            Fault::Unhealthy => active.unhealthy = true,
            // The worker carries them out.
            Fault::DropEvents(_) | Fault::StaleMetrics => {}
        });
    }
}
