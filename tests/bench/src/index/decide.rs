//! One decision as the proxy makes it once it has the prompt: index, snapshot and pick. No booking.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rankwise_core::ids::Millis;
use rankwise_core::policy::{Fact, Facts, PolicyRequest};
use rankwise_core::request::PlacementRequest;
use rankwise_core::snapshot::Snapshot;
use rankwise_core::target::Availability;
use rankwise_measure::samples::Samples;
use rankwise_policy_host::{Activation, HostConfig, PolicyHost, PoolInfo, Smoke, ThreadPolicies};
use serde_json::json;

use super::fleet::Fleet;
use crate::component;

pub(super) struct Decider<'a> {
    fleet: &'a Fleet,
    activation: Arc<Activation>,
    policies: ThreadPolicies,
    snapshot: Snapshot,
    sequence: u64,
}

impl<'a> Decider<'a> {
    pub(super) fn new(fleet: &'a Fleet, component: Option<&Path>) -> anyhow::Result<Self> {
        let host = PolicyHost::new(HostConfig::default())?;
        let compiled = host.compile("kv-bench", &component::kv(component)?)?;
        let pool = PoolInfo { model: "m".to_owned(), block_size: fleet.spec.block_size };
        let activation = host.activate(&compiled, &pool, &json!({}), &Smoke::example(), 1)?;
        Ok(Self {
            fleet,
            activation,
            policies: ThreadPolicies::new(),
            snapshot: Snapshot::new(),
            sequence: 0,
        })
    }

    /// Decides every prompt so many times.
    pub(super) fn decide(&mut self, rounds: usize) -> anyhow::Result<Samples> {
        let mut samples = Samples::default();
        let fleet = self.fleet;
        for prompt in std::iter::repeat_n(&fleet.prompts, rounds).flatten() {
            let request = PlacementRequest { prompt: Some(prompt), ..PlacementRequest::default() };
            let mut facts = Facts::default();
            facts.set(Fact::PromptTokens, prompt.tokens.into());
            facts.set(Fact::PromptBlocks, u64::from(prompt.tokens / fleet.spec.block_size));
            facts.set(Fact::Sequences, 1);
            self.sequence += 1;
            let seed = self.sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let asked = PolicyRequest { sequence: self.sequence, seed, facts, ..PolicyRequest::default() };
            let columns = &self.activation.needs().columns;
            let start = Instant::now();
            let ready = &mut |target: &rankwise_core::target::Target| {
                target.health.availability() == Availability::Ready
            };
            fleet.state.snapshot(&request, columns, ready, Millis(0), &mut self.snapshot);
            let rows = self.snapshot.rows().len() as u32;
            let packed = self.snapshot.packed();
            // A wait or a rejection is an answer as good as a rank.
            self.policies.pick(&self.activation, &asked, rows, packed, |_| true)?;
            samples.push(start.elapsed());
        }
        Ok(samples)
    }
}
