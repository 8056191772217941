//! Runs a lockstep group's model along the clock and hands out what its steps bring about.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, watch};

use super::clock::Clock;
use super::feed::RankFeed;
use crate::model::core::{EngineCore, Refusal};
use crate::model::group::Group;
use crate::model::sequence::{Progress, Prompt, SequenceId};

/// One group and who listens to it.
pub(crate) struct GroupDriver {
    state: Mutex<State>,
    changed: Notify,
    pub(crate) clock: Clock,
}

struct State {
    group: Group,
    feeds: Vec<Arc<RankFeed>>,
    listeners: FxHashMap<SequenceId, watch::Sender<Progress>>,
    next_id: u64,
}

impl GroupDriver {
    /// `feeds`: one per rank of the group, in order.
    pub(crate) fn new(group: Group, feeds: Vec<Arc<RankFeed>>, clock: Clock) -> Self {
        let state = State { group, feeds, listeners: FxHashMap::default(), next_id: 0 };
        Self { state: Mutex::new(state), changed: Notify::new(), clock }
    }

    /// Runs forever; dropped when the fleet stops.
    pub(crate) async fn run(&self) {
        loop {
            let next = {
                let mut state = self.state.lock();
                state.advance(&self.clock);
                state.group.next()
            };
            match next {
                Some(at) => tokio::select! {
                    () = self.clock.until(at) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Hands a sequence to a rank of the group.
    pub(crate) fn submit(self: &Arc<Self>, rank: usize, prompt: Prompt) -> Result<Ticket, Refusal> {
        let mut state = self.state.lock();
        state.advance(&self.clock);
        let id = SequenceId(state.next_id);
        state.group.submit(rank, id, prompt, self.clock.now())?;
        state.next_id += 1;
        let (sender, progress) = watch::channel(Progress::default());
        state.listeners.insert(id, sender);
        drop(state);
        self.changed.notify_one();
        Ok(Ticket { driver: Arc::clone(self), rank, id, progress })
    }

    /// Looks at one rank.
    pub(crate) fn rank<T>(&self, rank: usize, look: impl FnOnce(&EngineCore) -> T) -> Option<T> {
        let mut state = self.state.lock();
        state.advance(&self.clock);
        state.group.rank(rank).map(look)
    }

    /// Empties a rank's cache; false while it is in use.
    pub(crate) fn clear_cache(&self, rank: usize) -> bool {
        let mut state = self.state.lock();
        state.advance(&self.clock);
        state.group.rank_mut(rank).is_some_and(EngineCore::clear_cache)
    }

    /// Ends whatever a rank works on, and tells those who wait for it.
    pub(crate) fn abort_all(&self, rank: usize) {
        let mut state = self.state.lock();
        state.advance(&self.clock);
        let ids = state.group.rank(rank).map(EngineCore::sequences).unwrap_or_default();
        for id in ids {
            state.group.abort(rank, id);
            if let Some(listener) = state.listeners.remove(&id) {
                listener.send_modify(|progress| progress.finished = true);
            }
        }
    }

    /// A rank's process ends: its sequences and its cache are lost.
    pub(crate) fn restart(&self, rank: usize) {
        let mut state = self.state.lock();
        state.advance(&self.clock);
        let lost = state.group.rank_mut(rank).map(EngineCore::restart).unwrap_or_default();
        for id in lost {
            state.listeners.remove(&id);
        }
    }
}

impl State {
    fn advance(&mut self, clock: &Clock) {
        let now = clock.now();
        while let Some(outcome) = self.group.advance(now) {
            for (id, progress) in outcome.progress {
                let Some(listener) = self.listeners.get(&id) else { continue };
                listener.send_replace(progress);
                if progress.finished {
                    self.listeners.remove(&id);
                }
            }
            for (rank, changes) in outcome.changes {
                if let Some(feed) = self.feeds.get(rank) {
                    feed.publish(&changes);
                }
            }
        }
    }
}

/// A sequence that an engine works on. Dropping it aborts the sequence.
pub(crate) struct Ticket {
    driver: Arc<GroupDriver>,
    rank: usize,
    id: SequenceId,
    progress: watch::Receiver<Progress>,
}

impl Ticket {
    /// Waits until more than `said` tokens are said; `None` if the engine is gone.
    pub(crate) async fn more_than(&mut self, said: u32) -> Option<Progress> {
        let progress = self.progress.wait_for(|progress| progress.said > said || progress.finished).await;
        progress.ok().map(|progress| *progress)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.progress.borrow().finished {
            return;
        }
        let mut state = self.driver.state.lock();
        if state.listeners.remove(&self.id).is_some() {
            state.group.abort(self.rank, self.id);
        }
    }
}
