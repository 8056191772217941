//! The health of one rank: the only one that says whether its target may be picked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use rankwise_core::ids::Millis;
use rankwise_core::target::{Availability, Condition, Target};
use tokio::sync::Notify;

use super::breaker::{Breaker, BreakerSettings, Failure};
use super::proof::Proof;

/// Bounds and times of health.
#[derive(Clone, Copy, Debug)]
pub struct HealthSettings {
    /// Whether a rank has to prove itself by serving a request.
    pub prove_ranks: bool,
    /// For such a request.
    pub proof_timeout: Duration,
    /// After a good proof single failures are taken for the requests' own for so long.
    pub window: Duration,
    /// Failures within it that take a rank out, if they are half of all answers.
    pub failures_min: u32,
    /// Over which a rank that comes back, or joins, comes to its full share.
    pub slow_start: Duration,
}

/// How it stands with a rank.
#[derive(Clone, Debug, Default)]
pub struct HealthReport {
    /// Why it is out, if it is out by itself.
    pub out: Option<Failure>,
    /// What its last proof showed.
    pub proof: Option<Proof>,
    /// Why its last proof failed, if it did.
    pub error: Option<String>,
}

/// One rank's.
#[derive(Debug)]
pub struct RankHealth {
    target: Arc<Target>,
    weight_permille: u32,
    /// What is so for as long as the rank is known.
    condition: Condition,
    slow_start_ms: u64,
    /// Whether answers are counted: mostly they are not, and cost nothing.
    counting: AtomicBool,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    /// By the supervisor of its worker.
    worker: Availability,
    breaker: Breaker,
    /// Since when it comes to its share.
    slow_since: Option<Millis>,
    proof: Option<Proof>,
    error: Option<String>,
}

/// Share at the beginning of a slow start.
const FIRST_SHARE_PERMILLE: u64 = 100;

/// One that was out for less comes back to its full share at once.
const SHORT_MS: u64 = 1_000;

/// Between two steps of a slow start.
const STEP: Duration = Duration::from_millis(250);

/// What there is to be done about a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It has to prove itself.
    Prove,
    /// Nothing for so long, unless it is woken.
    Sleep(Duration),
}

impl RankHealth {
    /// Of a rank that may not be picked yet, and has yet to prove itself.
    pub fn new(
        target: Arc<Target>,
        weight_permille: u32,
        condition: Condition,
        settings: &HealthSettings,
        now: Millis,
    ) -> Self {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let breaker =
            BreakerSettings { window_ms: millis(settings.window), failures_min: settings.failures_min };
        let health = Self {
            target,
            weight_permille,
            condition,
            slow_start_ms: millis(settings.slow_start),
            counting: AtomicBool::new(false),
            state: Mutex::new(State {
                worker: Availability::Starting,
                breaker: Breaker::new(breaker, now),
                slow_since: None,
                proof: None,
                error: None,
            }),
            wake: Notify::new(),
        };
        health.publish(&mut health.state.lock(), now);
        health
    }

    /// How it stands with its worker. `slowly`: it comes to its share over time. One that drains does so to its end.
    pub fn worker_is(&self, availability: Availability, slowly: bool, now: Millis) {
        let mut state = self.state.lock();
        if state.worker == Availability::Draining {
            return;
        }
        if slowly && availability == Availability::Ready && state.worker != Availability::Ready {
            state.slow_since = Some(now);
        }
        state.worker = availability;
        self.publish(&mut state, now);
        self.wake.notify_one();
    }

    /// Its process is another one, which has yet to prove itself.
    pub fn restarted(&self, now: Millis) {
        let mut state = self.state.lock();
        state.breaker.restarted(now);
        self.publish(&mut state, now);
        self.wake.notify_one();
    }

    /// A request was answered.
    pub fn answered(&self, now: Millis) {
        if self.counting.load(Relaxed) {
            let mut state = self.state.lock();
            state.breaker.answered(now);
            self.counting.store(state.breaker.is_counting(now), Relaxed);
        }
    }

    /// A request failed. Whether that takes the rank out.
    pub fn failed(&self, why: Failure, now: Millis, is_last: impl FnOnce() -> bool) -> bool {
        let mut state = self.state.lock();
        if state.worker != Availability::Ready {
            return false;
        }
        let out = state.breaker.failed(why, now, is_last);
        self.publish(&mut state, now);
        self.wake.notify_one();
        out
    }

    /// It has to prove itself, and is in until it fails to.
    pub fn doubt(&self, now: Millis) {
        self.state.lock().breaker.doubt(now);
        self.wake.notify_one();
    }

    /// It has proven so much.
    pub fn proven(&self, proof: Proof, now: Millis) {
        let mut state = self.state.lock();
        let out_since = state.breaker.out().map(|(_, since)| since);
        if state.worker == Availability::Ready && out_since.is_some_and(|since| now.since(since) >= SHORT_MS)
        {
            state.slow_since = Some(now);
        }
        if proof.is_untold() {
            state.breaker.untold(now)
        } else {
            state.breaker.proven(now)
        }
        (state.proof, state.error) = (Some(proof), None);
        self.publish(&mut state, now);
    }

    /// It has not. Whether that takes it out.
    pub fn unproven(&self, why: Failure, error: String, now: Millis, is_last: impl FnOnce() -> bool) -> bool {
        let mut state = self.state.lock();
        let out = state.breaker.unproven(why, now, is_last);
        state.error = Some(error);
        self.publish(&mut state, now);
        out
    }

    /// What there is to be done now. Lets a slow start go on.
    pub fn next(&self, now: Millis) -> Next {
        let mut state = self.state.lock();
        self.publish(&mut state, now);
        let slow = state.slow_since.map(|_| STEP);
        let due = state.breaker.due().map(|due| Duration::from_millis(due.since(now)));
        match due {
            Some(Duration::ZERO) => Next::Prove,
            due => Next::Sleep(due.into_iter().chain(slow).min().unwrap_or(Duration::from_secs(3600))),
        }
    }

    /// Resolves when something has changed.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Whether a request has failed there since it last proved itself.
    pub fn is_accused(&self) -> bool {
        self.state.lock().breaker.is_accused()
    }

    /// How it stands.
    pub fn report(&self) -> HealthReport {
        let state = self.state.lock();
        HealthReport {
            out: state.breaker.out().map(|(why, _)| why),
            proof: state.proof,
            error: state.error.clone(),
        }
    }

    fn publish(&self, state: &mut State, now: Millis) {
        let out = state.breaker.out().is_some();
        let availability = match state.worker {
            Availability::Ready if out => Availability::Unhealthy,
            by_worker => by_worker,
        };
        let mut condition = self.condition;
        let mut share = 1000;
        if let Some(since) = state.slow_since {
            let passed = now.since(since);
            if passed < self.slow_start_ms {
                share = FIRST_SHARE_PERMILLE + (1000 - FIRST_SHARE_PERMILLE) * passed / self.slow_start_ms;
                condition = condition.and(Condition::SLOW_START).and(Condition::RECOVERING);
            } else {
                state.slow_since = None;
            }
        }
        if state.proof.is_some_and(|proof| proof.is_untold()) {
            condition = condition.and(Condition::UNTRUSTED);
        }
        let weight = (u64::from(self.weight_permille) * share / 1000).max(1);
        self.target.health.set_weight_permille(u32::try_from(weight).unwrap_or(u32::MAX));
        self.target.health.set_condition(condition);
        self.target.health.set_availability(availability);
        self.counting.store(state.breaker.is_counting(now), Relaxed);
    }
}

#[cfg(test)]
mod tests;
