//! One instance of a policy: a store with its own memory, and the two calls into it.

use std::time::Duration;

use rankwise_core::policy::{Phase, PolicyRequest};
use wasmtime::component::{self, ComponentExportIndex};
use wasmtime::{Store, Trap};

use crate::bindings::{self, Policy};
use crate::check::Optional;
use crate::code::Code;
use crate::config::HostConfig;
use crate::engine::Tier;
use crate::failure::{PolicyFailure, bounded};
use crate::limits::Limits;
use crate::needs::HEADERS_MAX;

/// What a guest may hand over in one call: an error text, a list of needs.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// An instance. After a call that returned an error it is dead: to be dropped.
pub(crate) struct Instance {
    store: Store<Limits>,
    instance: component::Instance,
    policy: Policy,
    optional: Optional,
    tier: Tier,
}

impl Instance {
    /// A new one, not yet configured.
    pub(crate) fn create(code: &Code, config: &HostConfig) -> Result<Self, PolicyFailure> {
        let Code { tier, pre, optional } = code;
        let (tier, optional) = (*tier, *optional);
        let mut store = Store::new(pre.engine(), Limits::new(config));
        store.limiter(|limits| limits);
        store.set_hostcall_fuel(ANSWER_BYTES_MAX);
        store.epoch_deadline_callback(|mut context| Ok(context.data_mut().tick()));
        begin(&mut store, config.configure_cpu_budget);
        let instantiated = pre.instance_pre().instantiate(&mut store);
        match instantiated.and_then(|instance| Ok((instance, Policy::new(&mut store, &instance)?))) {
            Ok((instance, policy)) => Ok(Self { store, instance, policy, optional, tier }),
            // What is wrong with the instance is not what is wrong with the call: memory that never was there.
            Err(error) => Err(match failure(&store, &error) {
                PolicyFailure::Trap(text) => PolicyFailure::Instantiate(text),
                other => other,
            }),
        }
    }

    /// Which compiler made its code.
    pub(crate) fn tier(&self) -> Tier {
        self.tier
    }

    /// Configures it.
    pub(crate) fn configure(
        &mut self,
        model: &str,
        block_size: u32,
        settings_json: &str,
        budget: Duration,
    ) -> Result<bindings::Needs, PolicyFailure> {
        begin(&mut self.store, budget);
        let picker = self.policy.rankwise_policy_picker();
        let pool = bindings::Pool { model, block_size };
        match picker.call_configure(&mut self.store, pool, settings_json) {
            Ok(Ok(needs)) => Ok(needs),
            Ok(Err(text)) => Err(PolicyFailure::Error(bounded(&text))),
            Err(error) => Err(failure(&self.store, &error)),
        }
    }

    /// Asks it. The outer error is the end of the instance, the inner one is what the policy returned.
    pub(crate) fn pick(
        &mut self,
        budget: Duration,
        request: &PolicyRequest,
        rows: u32,
        columns: &[u32],
    ) -> Result<Result<bindings::Decision, String>, PolicyFailure> {
        begin(&mut self.store, budget);
        let picker = self.policy.rankwise_policy_picker();
        let (store, ranks) = (&mut self.store, bindings::Ranks { rows, columns });
        let answer = with_wire(request, |request| picker.call_pick(&mut *store, request, ranks));
        answer.map_err(|error| failure(&self.store, &error))
    }

    /// Asks for a score per row, if the component exports a function for it.
    pub(crate) fn score(
        &mut self,
        budget: Duration,
        request: &PolicyRequest,
        rows: u32,
        columns: &[u32],
    ) -> Option<Result<Vec<f32>, PolicyFailure>> {
        let function = self.optional.score?;
        Some(self.score_by(&function, budget, request, rows, columns))
    }

    fn score_by(
        &mut self,
        function: &ComponentExportIndex,
        budget: Duration,
        request: &PolicyRequest,
        rows: u32,
        columns: &[u32],
    ) -> Result<Vec<f32>, PolicyFailure> {
        begin(&mut self.store, budget);
        let (store, instance) = (&mut self.store, &self.instance);
        let scored = with_wire(request, |request| {
            let score = instance.get_typed_func::<Scoring<'_>, (Vec<f32>,)>(&mut *store, function)?;
            score.call(&mut *store, (request, bindings::Ranks { rows, columns }))
        });
        let (scores,) = scored.map_err(|error| failure(&self.store, &error))?;
        if scores.len() != rows as usize {
            return Err(PolicyFailure::BadAnswer(format!("{} scores for {rows} rows", scores.len())));
        }
        Ok(scores)
    }

    /// Tells it how requests ended; a figure for each target. A component that does not learn has none.
    pub(crate) fn learn(
        &mut self,
        budget: Duration,
        targets: &[u32],
        outcomes: &[u64],
    ) -> Result<Vec<u32>, PolicyFailure> {
        let Some(function) = self.optional.learn else { return Ok(vec![0; targets.len()]) };
        begin(&mut self.store, budget);
        let learn = self.instance.get_typed_func::<Learning<'_>, (Vec<u32>,)>(&mut self.store, function);
        let learned = learn.and_then(|learn| learn.call(&mut self.store, (targets, outcomes)));
        let (figures,) = learned.map_err(|error| failure(&self.store, &error))?;
        if figures.len() != targets.len() {
            let (found, wanted) = (figures.len(), targets.len());
            return Err(PolicyFailure::BadAnswer(format!("{found} figures learned for {wanted} targets")));
        }
        Ok(figures)
    }

    /// Whether what it exports beside the picker has the right types.
    pub(crate) fn check_optional(&mut self) -> wasmtime::Result<()> {
        if let Some(score) = &self.optional.score {
            self.instance.get_typed_func::<Scoring<'_>, (Vec<f32>,)>(&mut self.store, score)?;
        }
        if let Some(learn) = &self.optional.learn {
            self.instance.get_typed_func::<Learning<'_>, (Vec<u32>,)>(&mut self.store, learn)?;
        }
        Ok(())
    }

    /// Whether it is so full that it should be replaced while it still answers.
    pub(crate) fn nearly_full(&self) -> bool {
        self.store.data().nearly_full()
    }
}

/// Parameters of `score`.
type Scoring<'a> = (bindings::Request<'a>, bindings::Ranks<'a>);
/// Parameters of `learn`.
type Learning<'a> = (&'a [u32], &'a [u64]);

/// A request as the guest is given it.
fn with_wire<R>(request: &PolicyRequest, call: impl FnOnce(bindings::Request<'_>) -> R) -> R {
    let wire = |text| bindings::Request {
        sequence: request.sequence,
        seed: request.seed,
        phase: match request.phase {
            Phase::Aggregated => bindings::Phase::Aggregated,
            Phase::Prefill => bindings::Phase::Prefill,
            Phase::Decode => bindings::Phase::Decode,
        },
        facts: request.facts.as_slice(),
        text,
    };
    if request.text.is_empty() {
        return call(wire(&[]));
    }
    // No policy has asked for more headers than this, so nothing is lost and nothing allocated.
    let mut text = [("", ""); HEADERS_MAX];
    let texts = request.text.len().min(HEADERS_MAX);
    for (slot, (name, value)) in text.iter_mut().zip(&request.text) {
        *slot = (name, value);
    }
    call(wire(&text[..texts]))
}

fn begin(store: &mut Store<Limits>, budget: Duration) {
    store.data_mut().start(budget);
    // The next tick, however near.
    store.set_epoch_deadline(1);
}

fn failure(store: &Store<Limits>, error: &wasmtime::Error) -> PolicyFailure {
    let limits = store.data();
    if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
        PolicyFailure::Deadline(limits.deadline.budget())
    } else if limits.memory_refused() {
        PolicyFailure::Memory(limits.memory_bytes_max())
    } else {
        PolicyFailure::Trap(bounded(&format!("{error:#}")))
    }
}
