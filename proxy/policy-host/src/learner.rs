//! The instance of a policy that learns.

use std::sync::Arc;

use crate::activation::Activation;
use crate::failure::PolicyFailure;
use crate::instance::Instance;

/// One instance of an activation that never picks, and may remember. After an error it is dead: to be dropped.
pub struct Learner {
    activation: Arc<Activation>,
    instance: Instance,
}

/// Numbers told of each outcome, in the order of the interface.
pub const OUTCOME_FIELDS: usize = 8;

impl Learner {
    /// Of an activation whose policy learns; `None` if it does not. Blocks as long as making an instance takes.
    ///
    /// # Errors
    /// When there is no instance to be had.
    pub fn of(activation: &Arc<Activation>) -> Option<Result<Self, PolicyFailure>> {
        if !activation.compiled().has_learner() {
            return None;
        }
        let activation = Arc::clone(activation);
        Some(activation.make().map(|instance| Self { activation, instance }))
    }

    /// Whose it is.
    pub fn activation(&self) -> &Arc<Activation> {
        &self.activation
    }

    /// Tells how requests ended, and what is learned of each target, in their order. Held to the CPU time of `configure`.
    ///
    /// # Errors
    /// When it failed; then it is dead.
    pub fn learn(
        &mut self,
        targets: &[u32],
        outcomes: &[[u64; OUTCOME_FIELDS]],
    ) -> Result<Vec<u32>, PolicyFailure> {
        let mut numbers = Vec::with_capacity(1 + outcomes.len() * OUTCOME_FIELDS);
        numbers.push(OUTCOME_FIELDS as u64);
        numbers.extend(outcomes.iter().flatten());
        let budget = self.activation.runtime().config.configure_cpu_budget;
        self.instance.learn(budget, targets, &numbers)
    }
}

impl std::fmt::Debug for Learner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Learner").field("policy", self.activation.version()).finish_non_exhaustive()
    }
}
