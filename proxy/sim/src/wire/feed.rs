//! One rank's KV events on their way out: numbered, kept for replay and queued for the socket, or kept until they are drained.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::drained::{CacheAbout, told};
use super::event_wire::{BatchStyle, encode};
use super::faults::Faults;
use super::pages::{self, PageKeys, Pages};
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
    words: Words,
    buffer_steps: usize,
    enabled: bool,
    faults: Arc<Faults>,
    state: Mutex<State>,
}

/// How a rank tells its events.
#[derive(Clone, Copy, Debug)]
enum Words {
    /// In batches, each copy of a block for itself.
    Copies,
    /// In batches, each page once.
    Pages(PageKeys),
    /// One by one, to whoever asks first.
    Drained(CacheAbout),
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
        let words = match spec.engine {
            EngineWire::Trtllm if spec.is_bare() => Words::Drained(CacheAbout::of(spec)),
            EngineWire::Sglang => Words::Pages(PageKeys::Sglang),
            EngineWire::Trtllm => Words::Pages(PageKeys::Shim),
            EngineWire::Dynamo => Words::Pages(PageKeys::Dynamo),
            EngineWire::Vllm | EngineWire::Generic => Words::Copies,
        };
        Self {
            rank,
            global_rank,
            style,
            words,
            buffer_steps: spec.buffer_steps,
            enabled: spec.tells_events(),
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

    /// What was told and not drained yet: nobody is told again.
    pub(crate) fn drain(&self) -> Vec<Bytes> {
        self.state.lock().ring.drain(..).map(|(_, event)| event).collect()
    }

    pub(crate) fn publish(&self, changes: &[CacheChange]) {
        let faults = self.faults.now();
        if !self.enabled || faults.silent_rank == Some(self.rank) {
            return;
        }
        let rank = faults.rank_claimed.unwrap_or(self.global_rank);
        let mut state = self.state.lock();
        let told = match self.words {
            Words::Copies => vec![encode(changes, rank, unix_seconds(), &self.style)],
            Words::Pages(keys) => match state.pages.take(changes) {
                events if events.is_empty() => return,
                events => vec![pages::encode(&events, rank, unix_seconds(), &self.style, keys)],
            },
            Words::Drained(about) => {
                let events = told(state.pages.take(changes));
                about.encode(&events, state.next_seq, rank, &self.style)
            }
        };
        for payload in told {
            self.tell(&mut state, payload);
        }
    }

    /// Gives it the next number.
    fn tell(&self, state: &mut State, payload: Bytes) {
        let batch = (state.next_seq, payload);
        state.next_seq += 1;
        let dropped = state.to_drop > 0;
        state.to_drop = state.to_drop.saturating_sub(1);
        // What is dropped can be replayed; what is drained cannot.
        let is_kept = !(dropped && matches!(self.words, Words::Drained(_)));
        if self.buffer_steps > 0 && is_kept {
            while state.ring.len() >= self.buffer_steps {
                state.ring.pop_front();
            }
            state.ring.push_back(batch.clone());
        }
        if dropped {
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
