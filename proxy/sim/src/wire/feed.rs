//! One rank's KV events on their way out: numbered, kept for replay, queued for the socket.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::event_wire::{BatchStyle, encode};
use super::faults::Faults;
use super::pages::{self, Pages};
use crate::EngineWire;
use crate::model::pool::CacheChange;

/// Batches between the model and the socket; more are dropped, which subscribers see as a gap, like ZMQ's high-water mark.
pub(crate) const QUEUE_BATCHES: usize = 100_000;

/// A numbered batch.
pub(crate) type Batch = (u64, Bytes);

/// One rank's feed.
pub(crate) struct RankFeed {
    /// The rank within its worker.
    rank: u32,
    /// What its events call it.
    global_rank: u32,
    style: BatchStyle,
    engine: EngineWire,
    buffer_steps: usize,
    enabled: bool,
    faults: Arc<Faults>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_seq: u64,
    ring: VecDeque<Batch>,
    queue: Option<mpsc::Sender<Batch>>,
    to_drop: u32,
    /// What others than vLLM hold once where the model holds copies.
    pages: Pages,
}

impl RankFeed {
    pub(crate) fn new(
        rank: u32,
        global_rank: u32,
        style: BatchStyle,
        spec: &crate::FleetSpec,
        faults: Arc<Faults>,
    ) -> Self {
        Self {
            rank,
            global_rank,
            style,
            engine: spec.engine,
            buffer_steps: spec.buffer_steps,
            enabled: spec.publishes(),
            faults,
            state: Mutex::default(),
        }
    }

    /// The rank within its worker.
    pub(crate) fn rank(&self) -> u32 {
        self.rank
    }

    /// The engine's name of a block.
    pub(crate) fn wire_hash(&self, hash: crate::model::chain::ChainHash) -> u64 {
        self.style.wire_hash(hash)
    }

    /// Where batches go from now on.
    pub(crate) fn connect(&self) -> mpsc::Receiver<Batch> {
        let (sender, receiver) = mpsc::channel(QUEUE_BATCHES);
        self.state.lock().queue = Some(sender);
        receiver
    }

    /// Counts from 0 again with nothing to replay, as a new process does.
    pub(crate) fn restart(&self) {
        *self.state.lock() = State::default();
    }

    /// Numbers the next `batches` batches without sending them.
    pub(crate) fn drop_next(&self, batches: u32) {
        self.state.lock().to_drop = batches;
    }

    /// The number of the next batch.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.state.lock().next_seq
    }

    /// Batches from `start` on that are still kept.
    pub(crate) fn since(&self, start: u64) -> Vec<Batch> {
        self.state.lock().ring.iter().filter(|(seq, _)| *seq >= start).cloned().collect()
    }

    pub(crate) fn publish(&self, changes: &[CacheChange]) {
        let faults = self.faults.now();
        if !self.enabled || faults.silent_rank == Some(self.rank) {
            return;
        }
        let rank = faults.rank_claimed.unwrap_or(self.global_rank);
        let mut state = self.state.lock();
        let payload = match self.engine {
            EngineWire::Sglang | EngineWire::Trtllm => {
                let events = state.pages.take(changes);
                if events.is_empty() {
                    return;
                }
                let signed = self.engine == EngineWire::Sglang;
                pages::encode(&events, rank, unix_seconds(), &self.style, signed)
            }
            EngineWire::Vllm | EngineWire::Generic => encode(changes, rank, unix_seconds(), &self.style),
        };
        let batch = (state.next_seq, payload);
        state.next_seq += 1;
        if self.buffer_steps > 0 {
            while state.ring.len() >= self.buffer_steps {
                state.ring.pop_front();
            }
            state.ring.push_back(batch.clone());
        }
        if state.to_drop > 0 {
            state.to_drop -= 1;
            return;
        }
        if let Some(queue) = &state.queue
            && queue.try_send(batch).is_err()
        {
            tracing::debug!(rank = self.rank, "kv event queue full or closed: batch dropped");
        }
    }
}

pub(crate) fn unix_seconds() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64())
}
