//! The instances of one request thread.

use std::sync::Arc;

use rankwise_core::policy::{Decision, PolicyRequest};

use crate::activation::Activation;
use crate::answer;
use crate::engine::Tier;
use crate::failure::{PolicyFailure, bounded};
use crate::instance::Instance;

/// The instances of one request thread: one for every activation that it asks, and the last one that is no longer in
/// force.
#[derive(Default)]
pub struct ThreadPolicies {
    entries: Vec<Entry>,
    clock: u64,
}

struct Entry {
    activation: Arc<Activation>,
    instance: Instance,
    last_used: u64,
}

impl Entry {
    /// Takes an instance of better code, as soon as there is one.
    #[cold]
    fn renew(&mut self) {
        if let Some(better) = self.activation.take_better() {
            let old = std::mem::replace(&mut self.instance, better);
            hand_over(old, Arc::clone(&self.activation));
        }
    }
}

impl ThreadPolicies {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the policy where a request goes. A plain call, about as long as the policy computes; it ends after the CPU
    /// budget at the latest.
    ///
    /// `columns` is the table for `activation.needs()`: `columns[c * rows + row]`. `has_worker` says whether some row
    /// has this worker; it is asked only if the policy names one.
    ///
    /// # Errors
    /// A [`PolicyFailure`]; the next pick has a new instance if this one was spoilt.
    pub fn pick(
        &mut self,
        activation: &Arc<Activation>,
        request: &PolicyRequest,
        rows: u32,
        columns: &[u32],
        has_worker: impl FnOnce(u32) -> bool,
    ) -> Result<Decision, PolicyFailure> {
        debug_assert_eq!(columns.len(), rows as usize * activation.needs().columns.len());
        let position = self.position(activation)?;
        let entry = &mut self.entries[position];
        let budget = activation.runtime().config.cpu_budget;
        match entry.instance.pick(budget, request, rows, columns) {
            Ok(answer) => {
                if entry.instance.nearly_full() {
                    self.replace(position);
                }
                let decision = answer.map_err(|text| PolicyFailure::Error(bounded(&text)))?;
                answer::check(decision, request.phase, rows, has_worker)
            }
            Err(failure) => {
                self.replace(position);
                Err(failure)
            }
        }
    }

    /// Asks the policy for a score per row, the lower the better; `None` if it tells none. Like a pick, and not for the way of a
    /// request.
    pub fn score(
        &mut self,
        activation: &Arc<Activation>,
        request: &PolicyRequest,
        rows: u32,
        columns: &[u32],
    ) -> Option<Result<Vec<f32>, PolicyFailure>> {
        if !activation.compiled().has_scorer() {
            return None;
        }
        let position = match self.position(activation) {
            Ok(position) => position,
            Err(failure) => return Some(Err(failure)),
        };
        let budget = activation.runtime().config.cpu_budget;
        let scored = self.entries[position].instance.score(budget, request, rows, columns)?;
        // What answered with another number of scores is spoilt no less than what trapped.
        Some(scored.inspect_err(|_| self.replace(position)))
    }

    /// Which compiler made the code that this thread runs for an activation; none if it has not been asked yet.
    pub fn tier(&self, activation: &Activation) -> Option<Tier> {
        let entry = self.entries.iter().find(|entry| entry.activation.id() == activation.id())?;
        Some(entry.instance.tier())
    }

    /// Gives up instances of policies that are no longer in force, but for the last one used. Also done by a pick that
    /// meets a new policy; a thread that may be idle calls this now and then.
    pub fn sweep(&mut self) {
        self.retire(1);
    }

    /// Instances held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Where the instance of an activation is, which is being used now.
    fn position(&mut self, activation: &Arc<Activation>) -> Result<usize, PolicyFailure> {
        let position = match self.entries.iter().position(|entry| entry.activation.id() == activation.id()) {
            Some(position) => position,
            None => self.adopt(activation)?,
        };
        self.clock += 1;
        let entry = &mut self.entries[position];
        entry.last_used = self.clock;
        if entry.instance.tier() < activation.compiled().tier() {
            entry.renew();
        }
        Ok(position)
    }

    #[cold]
    fn adopt(&mut self, activation: &Arc<Activation>) -> Result<usize, PolicyFailure> {
        self.retire(1);
        let max = activation.runtime().config.thread_instances_max.max(1);
        while self.entries.len() >= max {
            let oldest =
                (0..self.entries.len()).min_by_key(|&i| self.entries[i].last_used).unwrap_or_default();
            give_up(self.entries.swap_remove(oldest));
        }
        let instance = activation.take()?;
        self.entries.push(Entry { activation: Arc::clone(activation), instance, last_used: self.clock });
        Ok(self.entries.len() - 1)
    }

    /// Puts a spare instance in the place of one that is dead or full.
    #[cold]
    fn replace(&mut self, position: usize) {
        let entry = &mut self.entries[position];
        match entry.activation.take() {
            Ok(spare) => {
                let old = std::mem::replace(&mut entry.instance, spare);
                hand_over(old, Arc::clone(&entry.activation));
            }
            // The next pick asks again.
            Err(_) => give_up(self.entries.swap_remove(position)),
        }
    }

    /// Gives up all instances of activations that are not published, but for the `keep` last used.
    fn retire(&mut self, keep: usize) {
        loop {
            let idle = (0..self.entries.len()).filter(|&i| !self.entries[i].activation.is_published());
            if idle.clone().count() <= keep {
                return;
            }
            let Some(oldest) = idle.min_by_key(|&i| self.entries[i].last_used) else { return };
            give_up(self.entries.swap_remove(oldest));
        }
    }
}

impl Drop for ThreadPolicies {
    fn drop(&mut self) {
        self.entries.drain(..).for_each(give_up);
    }
}

fn give_up(entry: Entry) {
    hand_over(entry.instance, entry.activation);
}

/// Dropping an instance unmaps memory, and dropping the last holder of an activation drops much more: not here.
fn hand_over(instance: Instance, activation: Arc<Activation>) {
    let runtime = Arc::clone(activation.runtime());
    runtime.maker.hand_over(move || drop((instance, activation)));
}
