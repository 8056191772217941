//! Policies on trial beside the active one: a canary decides for a share of the requests, a shadow decides along and is
//! not followed.

use std::sync::Arc;

use rankwise_core::ids::Millis;
use rankwise_core::sessions::Session;
use rankwise_policy_host::{Activation, Compiled, Current, HostError, PolicyFailure, PoolInfo};
use serde_json::Value;

use super::canary::CanaryShare;
use super::journal::{Author, Cause};
use super::lane::{Change, PoolPolicies};
use crate::clock;
use crate::decisions::{Lane, ShadowTrial};

impl PoolPolicies {
    /// The lane that decides for a request. `draw` is uniform, and the same for every decision about one request.
    pub fn lane_for(&self, draw: u64, session: Option<Session>) -> Lane {
        if self.canary.takes(draw, session) { Lane::Canary } else { Lane::Active }
    }

    /// What decides in a lane; the active policy once a canary is gone, and while it rests. Nothing: the fallback.
    pub fn current(&self, lane: Lane) -> (Lane, Current) {
        if lane == Lane::Canary {
            let canary = self.canary.current();
            if canary.activation().is_some_and(|activation| !activation.window().rests(clock::now())) {
                return (Lane::Canary, canary);
            }
        }
        (Lane::Active, self.active())
    }

    /// The policy that decides along.
    pub fn shadow(&self) -> Option<Arc<ShadowTrial>> {
        let shadow = self.shadow.load();
        shadow.as_ref().filter(|shadow| shadow.is_asked()).cloned()
    }

    /// Has a policy decide for a share of the requests. Blocks, as [`PoolPolicies::activate`] does.
    ///
    /// # Errors
    /// When settings, needs or the trial do not fit; nothing has changed then.
    pub fn start_canary(
        &self,
        compiled: &Arc<Compiled>,
        info: &PoolInfo,
        settings: &Value,
        share: CanaryShare,
        author: Author,
    ) -> Result<Arc<Activation>, HostError> {
        let activation = self.try_out(compiled, info, settings, Cause::Canary, &author)?;
        let _entry = self.changing();
        self.canary.start(Arc::clone(&activation), share);
        self.stepped(Lane::Canary, Cause::Canary, Some(&activation), author, None);
        Ok(activation)
    }

    /// The canary and its share.
    pub fn canary(&self) -> Option<(Arc<Activation>, CanaryShare)> {
        self.canary.on_trial()
    }

    /// Ends the canary's trial; whether there was one.
    pub fn drop_canary(&self, author: Author) -> bool {
        let _entry = self.changing();
        let dropped = self.canary.stop();
        if let Some(activation) = &dropped {
            self.stepped(Lane::Canary, Cause::Dropped, Some(activation), author, None);
        }
        dropped.is_some()
    }

    /// Makes the canary the active policy, as an activation does; `None` if there is none.
    pub fn promote_canary(&self, author: Author) -> Option<Arc<Activation>> {
        let entry = self.changing();
        let activation = self.canary.stop()?;
        let change = Change { fallback: None, cause: Cause::Promoted, author };
        self.put_in_force(&entry, &activation, change);
        Some(activation)
    }

    /// Has a policy decide along. Blocks, as [`PoolPolicies::activate`] does.
    ///
    /// # Errors
    /// When settings, needs or the trial do not fit; nothing has changed then.
    pub fn start_shadow(
        &self,
        compiled: &Arc<Compiled>,
        info: &PoolInfo,
        settings: &Value,
        author: Author,
    ) -> Result<Arc<ShadowTrial>, HostError> {
        let activation = self.try_out(compiled, info, settings, Cause::Shadow, &author)?;
        let trial = Arc::new(ShadowTrial::new(Arc::clone(&activation)));
        self.shadow.store(Some(Arc::clone(&trial)));
        self.stepped(Lane::Shadow, Cause::Shadow, Some(&activation), author, None);
        Ok(trial)
    }

    /// The shadow, also one that is not asked any more because it failed too often.
    pub fn shadow_trial(&self) -> Option<Arc<ShadowTrial>> {
        self.shadow.load_full()
    }

    /// Ends the shadow's trial; whether there was one.
    pub fn drop_shadow(&self, author: Author) -> bool {
        let dropped = self.shadow.swap(None);
        if let Some(trial) = &dropped {
            self.stepped(Lane::Shadow, Cause::Dropped, Some(trial.activation()), author, None);
        }
        dropped.is_some()
    }

    /// Counts a failure of the canary; too many end its trial.
    pub(super) fn canary_failed(&self, activation: &Activation, failure: &PolicyFailure, now: Millis) {
        if self.canary.lane().record(activation, now, true).is_some() {
            let error = format!("dropped after too many failures, the last one: {failure}");
            tracing::error!(policy = %activation.version(), %failure, "canary dropped");
            if self.canary.on_trial().is_some_and(|(on_trial, _)| on_trial.id() == activation.id()) {
                self.canary.stop();
            }
            self.stepped(Lane::Canary, Cause::Failures, Some(activation), Author::default(), Some(error));
        }
    }

    /// Configures both anew, as for another block size. Blocks.
    pub(super) fn reconfigure_trials(&self, info: &PoolInfo) -> Result<(), HostError> {
        let again = |activation: &Activation| {
            let settings = serde_json::from_str(activation.settings_json()).unwrap_or_default();
            self.prepare(activation.compiled(), info, &settings)
        };
        if let Some((activation, share)) = self.canary.on_trial() {
            self.canary.start(again(&activation)?, share);
        }
        if let Some(trial) = self.shadow.load_full() {
            self.shadow.store(Some(Arc::new(ShadowTrial::new(again(trial.activation())?))));
        }
        Ok(())
    }

    fn try_out(
        &self,
        compiled: &Arc<Compiled>,
        info: &PoolInfo,
        settings: &Value,
        cause: Cause,
        author: &Author,
    ) -> Result<Arc<Activation>, HostError> {
        self.prepare(compiled, info, settings).inspect_err(|error| {
            let change = Change { fallback: None, cause, author: author.clone() };
            self.refused(&compiled.version().to_string(), &change, error);
        })
    }
}
