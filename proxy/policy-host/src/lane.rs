//! One lane of a pool (active, canary or shadow): the policy chosen for it, and what decides while that one fails.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rankwise_core::ids::Millis;

use crate::activation::Activation;
use crate::slot::{Current, PolicySlot};

/// The policy of a lane: the one chosen; while that is out of service the last good one; while that is out of service
/// too the built-in one.
#[derive(Default)]
pub struct PolicyLane {
    slot: PolicySlot,
    /// The policy before the one chosen.
    before: PolicySlot,
    state: Mutex<State>,
    history_max: usize,
}

/// Which of a pool's policies decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The one in force.
    #[default]
    Active,
    /// The one on trial for a share of the requests.
    Canary,
    /// The one that decides along and is not followed.
    Shadow,
}

impl Lane {
    /// All lanes.
    pub const ALL: [Self; 3] = [Self::Active, Self::Canary, Self::Shadow];

    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }
}

/// What decides in a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serving {
    /// The built-in policy; also when nothing was ever activated.
    #[default]
    BuiltIn,
    /// The policy that was chosen.
    Chosen,
    /// The one before it.
    LastGood,
}

#[derive(Default)]
struct State {
    chosen: Option<Arc<Activation>>,
    /// Those chosen earlier, the last one first, without those that failed.
    history: VecDeque<Arc<Activation>>,
    serving: Serving,
}

impl State {
    fn last_good(&self) -> Option<Arc<Activation>> {
        self.history.front().cloned()
    }
}

impl PolicyLane {
    /// A lane in which the built-in policy decides, and which remembers so many earlier activations. Each of them keeps
    /// its spare instances, for a rollback that takes effect at once.
    pub fn new(history_max: usize) -> Self {
        Self { history_max, ..Self::default() }
    }

    /// What is in force.
    pub fn current(&self) -> Current {
        self.slot.current()
    }

    /// What decides now: what is in force, or while that [rests](crate::FailureWindow::rests) the policy before, if there is a good
    /// one. Read for every decision.
    pub fn deciding(&self, now: Millis) -> Current {
        let current = self.slot.current();
        if !current.activation().is_some_and(|activation| activation.window().rests(now)) {
            return current;
        }
        let before = self.before.current();
        let is_good = before.activation().is_some_and(|before| !before.window().tripped(now));
        if is_good { before } else { current }
    }

    /// Chooses a policy: from the return of this call on every decision uses it.
    pub fn activate(&self, activation: Arc<Activation>) {
        let mut state = self.state();
        let was_good = state.serving == Serving::Chosen;
        activation.window().rearm();
        if let Some(old) = state.chosen.replace(Arc::clone(&activation))
            && was_good
            && old.id() != activation.id()
        {
            state.history.push_front(old);
            state.history.truncate(self.history_max);
        }
        state.serving = Serving::Chosen;
        self.before.set(state.last_good());
        self.slot.publish(activation);
    }

    /// Goes back to the policy chosen before this one, and forgets this one. What is chosen now, or `None` if there is
    /// no earlier one and nothing changed.
    pub fn rollback(&self) -> Option<Arc<Activation>> {
        let mut state = self.state();
        let last = state.history.pop_front()?;
        last.window().rearm();
        state.chosen = Some(Arc::clone(&last));
        state.serving = Serving::Chosen;
        self.before.set(state.last_good());
        self.slot.publish(Arc::clone(&last));
        Some(last)
    }

    /// Nothing is chosen any more: the built-in policy decides.
    pub fn clear(&self) {
        let mut state = self.state();
        *state = State::default();
        self.before.clear();
        self.slot.clear();
    }

    /// Counts the outcome of a pick. What decides from now on, if this failure was one too many.
    pub fn record(&self, activation: &Activation, now: Millis, failed: bool) -> Option<Serving> {
        activation.window().record(now, failed).then(|| self.trip(activation, now))
    }

    /// Takes `activation` out of service, if it is what decides. What decides from now on.
    pub fn trip(&self, activation: &Activation, now: Millis) -> Serving {
        let mut state = self.state();
        // Another thread may have been quicker, or somebody may have activated another one.
        if self.slot.current().activation().is_none_or(|current| current.id() != activation.id()) {
            return state.serving;
        }
        activation.window().trip(now);
        let last_good = match state.serving {
            Serving::Chosen => state.last_good().filter(|last| !last.window().tripped(now)),
            _ => None,
        };
        state.serving = if last_good.is_some() { Serving::LastGood } else { Serving::BuiltIn };
        self.slot.set(last_good);
        state.serving
    }

    /// Puts the chosen policy back into service if it was out of it for long enough. To be called every second or so.
    /// Whether it was.
    pub fn retry(&self, now: Millis) -> bool {
        let mut state = self.state();
        let Some(chosen) = state.chosen.clone() else { return false };
        if state.serving == Serving::Chosen || chosen.window().tripped(now) {
            return false;
        }
        chosen.window().rearm();
        state.serving = Serving::Chosen;
        self.slot.publish(chosen);
        true
    }

    /// What decides.
    pub fn serving(&self) -> Serving {
        self.state().serving
    }

    /// The policy that was chosen, in service or not.
    pub fn chosen(&self) -> Option<Arc<Activation>> {
        self.state().chosen.clone()
    }

    /// The policies chosen earlier that a rollback can go back to, the last one first.
    pub fn history(&self) -> Vec<Arc<Activation>> {
        self.state().history.iter().cloned().collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
