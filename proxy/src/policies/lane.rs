//! The active policy of one pool: in force, failing, replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use parking_lot::{Mutex, MutexGuard, RwLock};
use rankwise_core::ids::Millis;
use rankwise_core::policy::Phase;
use rankwise_core::snapshot::Snapshot;
use rankwise_core::state::RoutingState;
use rankwise_policy_host::{
    Activation, Compiled, Current, FailureKind, HostError, PolicyFailure, PolicyHost, PolicyLane, PoolInfo,
    Serving, Smoke,
};
use serde_json::Value;

use super::canary::Canary;
use super::journal::{Author, Cause, Journal, Step};
use super::learners::{Learners, Outcome};
use super::live;
use super::state_dir::{KeptActivation, StateDir, StateError};
use crate::clock;
use crate::config::Fallback;
use crate::decisions::{Lane, ShadowTrial};
use crate::metrics::{Metrics, serving_name};

/// Earlier activations that a rollback can reach.
const HISTORY_MAX: usize = 4;

/// What decides in one pool, and how it came to.
pub struct PoolPolicies {
    parts: PolicyParts,
    lane: PolicyLane,
    pub(super) canary: Canary,
    pub(super) shadow: ArcSwapOption<ShadowTrial>,
    learners: Learners,
    /// Of the active policy and of the canary, each by phase.
    sequences: [[AtomicU64; 3]; 2],
    fallback: RwLock<Fallback>,
    journal: Journal,
    /// The config's entry, as [`KeptActivation::entry`] names it. Held while what decides changes, so that what is kept
    /// is what decides.
    entry: Mutex<String>,
}

/// What a pool's policies are made of.
pub struct PolicyParts {
    /// The pool's name.
    pub pool: String,
    /// What answers when a policy fails.
    pub fallback: Fallback,
    /// Runs them.
    pub host: PolicyHost,
    /// What they are tried on.
    pub state: Arc<RoutingState>,
    /// Where activations outlive the process.
    pub state_dir: Option<Arc<StateDir>>,
    /// Counters.
    pub metrics: Metrics,
    /// Instances to make ready: one per request thread.
    pub threads: usize,
}

/// What comes with an activation.
#[derive(Clone, Debug)]
pub struct Change {
    /// Another fallback than before.
    pub fallback: Option<Fallback>,
    /// What makes it happen.
    pub cause: Cause,
    /// By whom and why.
    pub author: Author,
}

impl PoolPolicies {
    /// A pool in which the fallback decides until something is activated.
    pub fn new(parts: PolicyParts) -> Self {
        Self {
            lane: PolicyLane::new(HISTORY_MAX),
            canary: Canary::default(),
            shadow: ArcSwapOption::empty(),
            learners: Learners::default(),
            sequences: Default::default(),
            fallback: RwLock::new(parts.fallback),
            journal: Journal::default(),
            entry: Mutex::default(),
            parts,
        }
    }

    /// What decides now in the active lane.
    pub(super) fn active(&self) -> Current {
        self.lane.deciding(clock::now())
    }

    /// Whether a policy of the pool looks at prompts.
    pub fn needs_prompt(&self) -> bool {
        let needs =
            |current: &Current| current.activation().is_some_and(|activation| activation.needs().prompt);
        needs(&self.active())
            || needs(&self.canary.current())
            || self.shadow().is_some_and(|shadow| shadow.activation().needs().prompt)
    }

    /// The next decision's number: 0, 1, 2 and so on in each lane.
    pub fn next_sequence(&self, lane: Lane, phase: Phase) -> u64 {
        self.sequences[usize::from(lane == Lane::Canary)][phase as usize].fetch_add(1, Relaxed)
    }

    /// What answers when the policy fails.
    pub fn fallback(&self) -> Fallback {
        *self.fallback.read()
    }

    /// The fallback's name where a policy's would stand.
    pub fn fallback_label(&self) -> HeaderValue {
        match self.fallback() {
            Fallback::LeastLoaded => HeaderValue::from_static("fallback:least-loaded"),
            Fallback::RoundRobin => HeaderValue::from_static("fallback:round-robin"),
        }
    }

    /// Configures a policy, tries it on the ranks as they are, and publishes it. Blocks: call it off the request threads.
    /// Every decision started after it returns uses the new one.
    ///
    /// # Errors
    /// When settings, needs or the trial do not fit; nothing has changed then.
    pub fn activate(
        &self,
        compiled: &Arc<Compiled>,
        info: &PoolInfo,
        settings: &Value,
        change: Change,
    ) -> Result<Arc<Activation>, HostError> {
        let activation = self
            .prepare(compiled, info, settings)
            .inspect_err(|error| self.refused(&compiled.version().to_string(), &change, error))?;
        let entry = self.changing();
        self.put_in_force(&entry, &activation, change);
        Ok(activation)
    }

    /// Held while what decides changes.
    pub(super) fn changing(&self) -> MutexGuard<'_, String> {
        self.entry.lock()
    }

    pub(super) fn put_in_force(&self, entry: &str, activation: &Arc<Activation>, change: Change) {
        if let Some(fallback) = change.fallback {
            *self.fallback.write() = fallback;
        }
        self.lane.activate(Arc::clone(activation));
        self.stepped(Lane::Active, change.cause, Some(activation), change.author.clone(), None);
        self.keep(entry, activation, change);
    }

    pub(super) fn prepare(
        &self,
        compiled: &Arc<Compiled>,
        info: &PoolInfo,
        settings: &Value,
    ) -> Result<Arc<Activation>, HostError> {
        let table = live::table(&self.parts.state);
        let smoke = Smoke { table: &table, ..Smoke::example() };
        self.parts.host.activate(compiled, info, settings, &smoke, self.parts.threads)
    }

    /// Notes that a policy was not taken. What decides has not changed.
    pub fn refused(&self, policy: &str, change: &Change, error: &dyn std::fmt::Display) {
        let (pool, cause) = (self.parts.pool.as_str(), change.cause);
        self.parts.metrics.policy_refusals.with_label_values(&[pool, cause.name()]).inc();
        tracing::warn!(pool, policy, cause = cause.name(), %error, "policy refused, nothing changed");
        let lane = match cause {
            Cause::Canary => Lane::Canary,
            Cause::Shadow => Lane::Shadow,
            _ => Lane::Active,
        };
        self.journal.add(Step {
            at_unix_ms: 0,
            cause,
            lane: lane.name(),
            policy: Some(policy.to_owned()),
            serving: serving_name(self.lane.serving()),
            author: change.author.clone(),
            error: Some(error.to_string()),
        });
    }

    /// Configures the chosen policy anew, as for another block size. Earlier ones, configured for the old, are forgotten.
    /// Blocks.
    ///
    /// # Errors
    /// When it refuses; then the old configuration stays in force.
    pub fn reconfigure(&self, info: &PoolInfo) -> Result<(), HostError> {
        self.reconfigure_trials(info)?;
        let Some(chosen) = self.lane.chosen() else { return Ok(()) };
        let settings = serde_json::from_str(chosen.settings_json()).unwrap_or_default();
        let activation = self.prepare(chosen.compiled(), info, &settings)?;
        let _entry = self.changing();
        self.lane.clear();
        self.lane.activate(Arc::clone(&activation));
        self.stepped(Lane::Active, Cause::BlockSize, Some(&activation), Author::default(), None);
        Ok(())
    }

    /// Back to the policy before. `None`: there is none, nothing changed.
    pub fn rollback(&self, author: Author) -> Option<Arc<Activation>> {
        let entry = self.changing();
        let activation = self.lane.rollback()?;
        self.stepped(Lane::Active, Cause::Rollback, Some(&activation), author.clone(), None);
        self.keep(&entry, &activation, Change { fallback: None, cause: Cause::Rollback, author });
        Some(activation)
    }

    /// Counts a decision of the policy of a lane.
    pub fn succeeded(&self, lane: Lane, activation: &Activation, now: Millis) {
        match lane {
            Lane::Canary => self.canary.lane().record(activation, now, false),
            Lane::Active | Lane::Shadow => self.lane.record(activation, now, false),
        };
    }

    /// Counts a failure, and takes the policy out of service if there were too many.
    pub fn failed(&self, lane: Lane, activation: &Activation, failure: &PolicyFailure, now: Millis) {
        let (pool, policy) = (self.parts.pool.as_str(), activation.version().to_string());
        let labels = [pool, &policy, failure.kind().name()];
        self.parts.metrics.policy_failures.with_label_values(&labels).inc();
        tracing::debug!(pool, policy, %failure, "policy failed, the fallback decided");
        match failure.kind() {
            // Not a failure more: it was not asked.
            FailureKind::Resting => return,
            FailureKind::Deadline => {
                tracing::warn!(pool, policy, %failure, "policy rests for a moment");
                activation.window().rest(now);
            }
            _ => {}
        }
        if lane == Lane::Canary {
            self.canary_failed(activation, failure, now);
        } else if let Some(serving) = self.lane.record(activation, now, true) {
            let error = format!("out of service after too many failures, the last one: {failure}");
            tracing::error!(pool, policy, %failure, ?serving, "policy taken out of service");
            self.stepped(Lane::Active, Cause::Failures, Some(activation), Author::default(), Some(error));
        }
    }

    /// Tries a policy again that has been out of service for long enough. Called every second or so.
    pub fn retry(&self, now: Millis) {
        if self.lane.retry(now) {
            let chosen = self.lane.chosen();
            self.stepped(Lane::Active, Cause::Rearmed, chosen.as_deref(), Author::default(), None);
        }
    }

    /// Whether a policy in force learns from how requests end.
    pub fn learns(&self) -> bool {
        self.learners.is_wanted()
    }

    /// Tells the policies that learn how a request ended, with the next lesson.
    pub fn ended(&self, outcome: Outcome) {
        self.learners.note(outcome);
    }

    /// Teaches the policies in force that learn. Blocks; called a few times a second.
    pub fn teach(&self) {
        let current = [self.active(), self.canary.current()];
        let in_force: Vec<_> = current.iter().filter_map(|current| current.activation().cloned()).collect();
        for (activation, failure) in self.learners.teach(&in_force, &self.parts.state.targets()) {
            let (pool, policy) = (self.parts.pool.as_str(), activation.version().to_string());
            let labels = [pool, &policy, failure.kind().name()];
            self.parts.metrics.policy_failures.with_label_values(&labels).inc();
            tracing::warn!(pool, policy, %failure, "what the policy learned is lost");
        }
    }

    /// Fills in the column of what the policy that decides has learned.
    pub fn fill_learned(&self, activation: &Activation, snapshot: &mut Snapshot) {
        self.learners.fill(activation.id(), snapshot);
    }

    /// Says what the config's entry is, as far as what is kept goes by it.
    pub fn set_entry(&self, entry: &str) {
        entry.clone_into(&mut self.entry.lock());
    }

    /// Whether that is the config's entry.
    pub(super) fn is_entry(&self, entry: &str) -> bool {
        *self.entry.lock() == entry
    }

    /// What `state_dir` keeps for this pool, if that was activated under the config's entry as it is.
    ///
    /// # Errors
    /// When the file is torn or foreign.
    pub fn kept(&self) -> Result<Option<KeptActivation>, StateError> {
        let entry = self.entry.lock();
        let Some(state) = &self.parts.state_dir else { return Ok(None) };
        let kept = state.activation(&self.parts.pool)?;
        Ok(kept.filter(|kept| kept.entry == *entry))
    }

    /// The policy that was chosen, in service or not.
    pub fn chosen(&self) -> Option<Arc<Activation>> {
        self.lane.chosen()
    }

    /// What decides: the chosen one, the last good one, or the fallback.
    pub fn serving(&self) -> Serving {
        self.lane.serving()
    }

    /// What a rollback would go back to, the last one first.
    pub fn history(&self) -> Vec<Arc<Activation>> {
        self.lane.history()
    }

    /// What happened, the last step first.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(super) fn stepped(
        &self,
        lane: Lane,
        cause: Cause,
        activation: Option<&Activation>,
        author: Author,
        error: Option<String>,
    ) {
        let pool = self.parts.pool.as_str();
        let serving = serving_name(self.lane.serving());
        let policy = activation.map(|activation| activation.version().to_string());
        self.parts.metrics.policy_swaps.with_label_values(&[pool, cause.name()]).inc();
        tracing::info!(
            pool,
            policy,
            lane = lane.name(),
            cause = cause.name(),
            serving,
            who = author.who,
            reason = author.reason,
            "policy step"
        );
        self.journal.add(Step { at_unix_ms: 0, cause, lane: lane.name(), policy, serving, author, error });
    }

    /// Keeps what the admin API chose; what the config chose needs no keeping and ends what was kept.
    fn keep(&self, entry: &str, activation: &Activation, change: Change) {
        let Some(state) = &self.parts.state_dir else { return };
        let pool = &self.parts.pool;
        let version = activation.version();
        let done = match change.cause {
            Cause::Config | Cause::File => state.forget_activation(pool),
            Cause::Admin | Cause::Rollback | Cause::Promoted => state.keep_activation(&KeptActivation {
                pool: pool.clone(),
                entry: entry.to_owned(),
                name: version.name.clone(),
                digest: version.digest.clone(),
                settings: serde_json::from_str(activation.settings_json()).unwrap_or_default(),
                fallback: self.fallback(),
                at_unix_ms: clock::unix_ms(),
                author: change.author,
            }),
            Cause::Kept
            | Cause::Failures
            | Cause::Rearmed
            | Cause::BlockSize
            | Cause::Canary
            | Cause::Shadow
            | Cause::Dropped => Ok(()),
        };
        if let Err(error) = done {
            tracing::error!(pool, %error, "state_dir: the activation will not outlive this process");
        }
    }
}
