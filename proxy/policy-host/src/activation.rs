//! A policy configured for a pool, with instances ready for the threads that ask it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rankwise_core::policy::{Needs, PolicyRequest};

use crate::answer;
use crate::compile::Compiled;
use crate::deadline::thread_cpu;
use crate::engine::Tier;
use crate::error::Refusal;
use crate::failure::{PolicyFailure, bounded};
use crate::instance::Instance;
use crate::needs;
use crate::runtime::Runtime;
use crate::smoke::{Smoke, SmokeTable};
use crate::version::PolicyVersion;
use crate::window::FailureWindow;

/// The pool that a policy is configured for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolInfo {
    /// The pool's first model name.
    pub model: String,
    /// Tokens per KV block.
    pub block_size: u32,
}

/// A policy configured for a pool. Shared by all threads; each takes an instance of its own from here.
pub struct Activation {
    id: u64,
    runtime: Arc<Runtime>,
    compiled: Arc<Compiled>,
    pool: PoolInfo,
    settings_json: String,
    needs: Needs,
    request: PolicyRequest,
    table: SmokeTable,
    /// Whether a request's thread may make an instance itself.
    inline: bool,
    ready: Mutex<Vec<Instance>>,
    refilling: AtomicBool,
    published: AtomicUsize,
    window: FailureWindow,
}

impl Activation {
    pub(crate) fn new(
        runtime: &Arc<Runtime>,
        compiled: &Arc<Compiled>,
        pool: &PoolInfo,
        settings: &serde_json::Value,
        smoke: &Smoke<'_>,
        warm: usize,
    ) -> Result<Arc<Self>, Refusal> {
        let config = &runtime.config;
        let settings_json = settings.to_string();
        let before = thread_cpu();
        let mut first = create_patiently(runtime, compiled).map_err(Refusal::Instantiate)?;
        let wanted = first
            .configure(&pool.model, pool.block_size, &settings_json, config.configure_cpu_budget)
            .map_err(Refusal::Configure)?;
        let needs = needs::check(&wanted).map_err(Refusal::Needs)?;
        let table = (smoke.table)(&needs);
        let mut activation = Self {
            id: runtime.next_id(),
            runtime: Arc::clone(runtime),
            compiled: Arc::clone(compiled),
            pool: pool.clone(),
            settings_json,
            needs,
            request: smoke.request.clone(),
            table,
            inline: false,
            ready: Mutex::default(),
            refilling: AtomicBool::new(false),
            published: AtomicUsize::new(0),
            window: FailureWindow::new(config.failures),
        };
        activation.warm_up(&mut first).map_err(Refusal::Smoke)?;
        activation.inline = thread_cpu().saturating_sub(before) <= config.inline_cost_max;
        activation.smoke(&mut first).map_err(Refusal::Smoke)?;
        activation.ready().push(first);
        for _ in 1..warm + config.spares {
            let instance =
                create_patiently(runtime, compiled).and_then(|instance| activation.made_ready(instance));
            activation.ready().push(instance.map_err(Refusal::Instantiate)?);
        }
        Ok(Arc::new(activation))
    }

    /// What the policy wants to be given: columns in this order, headers, the prompt.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Which version of which policy it is.
    pub fn version(&self) -> &PolicyVersion {
        self.compiled.version()
    }

    /// What it was made of.
    pub fn compiled(&self) -> &Arc<Compiled> {
        &self.compiled
    }

    /// The pool it was configured for.
    pub fn pool(&self) -> &PoolInfo {
        &self.pool
    }

    /// The settings it was configured with, as JSON.
    pub fn settings_json(&self) -> &str {
        &self.settings_json
    }

    /// Its failures, over all threads.
    pub fn window(&self) -> &FailureWindow {
        &self.window
    }

    /// A number that no other activation of this process has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Instances that wait for a thread.
    pub fn instances_ready(&self) -> usize {
        self.ready().len()
    }

    pub(crate) fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    pub(crate) fn is_published(&self) -> bool {
        self.published.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn add_publication(&self) {
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_publication(&self) {
        self.published.fetch_sub(1, Ordering::Relaxed);
    }

    /// An instance for the calling thread.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Instance, PolicyFailure> {
        let instance = self.take_better().or_else(|| self.ready().pop());
        match instance {
            Some(instance) => Ok(instance),
            None if self.inline => self.make(),
            None => Err(PolicyFailure::Instantiate("none is ready yet".into())),
        }
    }

    /// One of the best code that there is. If none is ready, one will be.
    pub(crate) fn take_better(self: &Arc<Self>) -> Option<Instance> {
        let tier = self.compiled.tier();
        let (instance, left) = {
            let mut ready = self.ready();
            let best = ready.iter().rposition(|instance| instance.tier() == tier);
            (best.map(|at| ready.swap_remove(at)), count(&ready, tier))
        };
        if left < self.runtime.config.spares && !self.refilling.swap(true, Ordering::AcqRel) {
            let activation = Arc::downgrade(self);
            let refill = move || {
                if let Some(activation) = activation.upgrade() {
                    activation.refill();
                }
            };
            let taken = self.runtime.maker.hand_over(refill);
            if !taken {
                self.refilling.store(false, Ordering::Release);
            }
        }
        instance
    }

    /// Makes spares until there are enough, and drops those of worse code. On the maker's thread.
    fn refill(&self) {
        self.refilling.store(false, Ordering::Release);
        let tier = self.compiled.tier();
        while count(&self.ready(), tier) < self.runtime.config.spares {
            match self.make() {
                Ok(instance) => self.ready().push(instance),
                Err(failure) => {
                    tracing::warn!(policy = %self.version(), %failure, "no spare instance could be made");
                    return;
                }
            }
        }
        let worse: Vec<Instance> = self.ready().extract_if(.., |instance| instance.tier() < tier).collect();
        drop(worse);
    }

    pub(crate) fn make(&self) -> Result<Instance, PolicyFailure> {
        self.made_ready(Instance::create(&self.compiled.code(), &self.runtime.config)?)
    }

    fn made_ready(&self, mut instance: Instance) -> Result<Instance, PolicyFailure> {
        let config = &self.runtime.config;
        let wanted = instance.configure(
            &self.pool.model,
            self.pool.block_size,
            &self.settings_json,
            config.configure_cpu_budget,
        )?;
        if needs::check(&wanted).as_ref() != Ok(&self.needs) {
            return Err(PolicyFailure::Instantiate("configure answered differently than before".into()));
        }
        self.warm_up(&mut instance)?;
        Ok(instance)
    }

    /// The first pick of an instance touches its memory and may set up an interpreter.
    fn warm_up(&self, instance: &mut Instance) -> Result<(), PolicyFailure> {
        let budget = self.runtime.config.configure_cpu_budget;
        instance.pick(budget, &self.request, self.table.rows, &self.table.columns).map(drop)
    }

    fn smoke(&self, instance: &mut Instance) -> Result<(), PolicyFailure> {
        let budget = self.runtime.config.cpu_budget;
        let answer = instance
            .pick(budget, &self.request, self.table.rows, &self.table.columns)?
            .map_err(|text| PolicyFailure::Error(bounded(&text)))?;
        let has_worker = |worker| self.table.workers.contains(&worker);
        answer::check(answer, self.request.phase, self.table.rows, has_worker).map(drop)
    }

    fn ready(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(instances: &[Instance], tier: Tier) -> usize {
    instances.iter().filter(|instance| instance.tier() == tier).count()
}

/// How often an activation waits for instances of earlier ones to go, and how long each time.
const PATIENCE: usize = 4;
const PATIENCE_EACH: Duration = Duration::from_millis(500);

/// The maker drops what threads have given up, and lags behind when policies are replaced quickly on a busy machine: the room
/// that is wanted may be about to come free. For whoever may wait.
fn create_patiently(runtime: &Runtime, compiled: &Compiled) -> Result<Instance, PolicyFailure> {
    let create = || Instance::create(&compiled.code(), &runtime.config);
    for _ in 0..PATIENCE {
        match create() {
            Err(PolicyFailure::Instantiate(_)) => runtime.maker.settle(PATIENCE_EACH),
            other => return other,
        }
    }
    create()
}

impl std::fmt::Debug for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Activation")
            .field("id", &self.id)
            .field("version", self.version())
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
