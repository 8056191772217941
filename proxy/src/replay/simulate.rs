//! A trace of requests through a policy and a simulated fleet, in simulated time.
//!
//! The policy decides as in the proxy: index, ledger, snapshot, component and booking are the same. The engines are the
//! model of `rankwise sim`, without their wires: what a rank's cache did is known when the step that did it ends, a
//! request arrives where it is sent without delay, and an answer is as long as the trace says.

mod decide;
mod engines;
mod figures;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rankwise_policy_host::{PoolInfo, Smoke};
use rankwise_sim::model::core::CoreSpec;
use rankwise_sim::model::group::StepOutcome;
use rankwise_sim::model::sequence::SequenceId;
use rankwise_sim::{Micros, Timing};
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::candidate::Asked;
use super::trace::Trace;
use crate::config::WaitLimits;
use decide::{Decided, Decider, Load};
use engines::Engines;
pub use figures::{Figures, table};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct FleetShape {
    /// Workers.
    pub workers: u32,
    /// dp ranks of each.
    pub ranks: u32,
    /// Whether the ranks of a worker step together.
    pub lockstep: bool,
    /// Bounds of each rank.
    pub core: CoreSpec,
    /// What a step costs.
    pub timing: Timing,
    /// The trace's requests come so many times as fast.
    pub speed: f64,
    /// Of the policies' randomness.
    pub seed: u64,
}

impl FleetShape {
    /// Ranks in all.
    pub fn ranks_in_all(&self) -> usize {
        self.workers as usize * self.ranks as usize
    }
}

/// How far a simulation is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Requests that have come.
    pub requests: usize,
    /// Of so many.
    pub of: usize,
    /// Simulated time.
    pub simulated: Duration,
}

/// Requests between two reports of progress.
const PROGRESS_EVERY: usize = 64;

/// Runs the trace through each policy, one after the other, each on an empty fleet of its own.
///
/// # Errors
/// When a policy does not fit.
pub fn simulate(
    trace: &Trace,
    asked: &[Asked],
    fleet: &FleetShape,
    progress: &mut dyn FnMut(&str, Progress),
) -> anyhow::Result<Vec<Figures>> {
    let host = super::host()?;
    let info = PoolInfo { model: "trace".to_owned(), block_size: fleet.core.block_size };
    let mut all = Vec::with_capacity(asked.len());
    for asked in asked {
        let compiled = asked.compile(&host)?;
        let settings = asked.settings.clone().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let activation = host.activate(&compiled, &info, &settings, &Smoke::example(), 1)?;
        let label = super::label(activation.version());
        let decider = Decider::new(activation, fleet);
        let mut figures = Simulation::new(trace, fleet, decider).run(&mut |at| progress(&label, at));
        figures.policy = label;
        all.push(figures);
    }
    Ok(all)
}

/// A request that an engine has.
struct Running {
    arrived: Micros,
    sent: Micros,
    said_at: Option<Micros>,
    prompt_tokens: u32,
    load: Load,
}

/// A request that its policy told to wait.
struct Waiting {
    number: usize,
    arrived: Micros,
    /// Asked again at the latest.
    until: Micros,
}

struct Simulation<'a> {
    trace: &'a Trace,
    fleet: &'a FleetShape,
    decider: Decider,
    engines: Engines,
    running: FxHashMap<SequenceId, Running>,
    waiting: VecDeque<Waiting>,
    limits: WaitLimits,
    /// Whether a booking has ended since those who wait were asked.
    load_changed: bool,
    figures: Figures,
}

impl<'a> Simulation<'a> {
    fn new(trace: &'a Trace, fleet: &'a FleetShape, decider: Decider) -> Self {
        Self {
            trace,
            fleet,
            decider,
            engines: Engines::new(fleet),
            running: FxHashMap::default(),
            waiting: VecDeque::new(),
            limits: WaitLimits::default(),
            load_changed: false,
            figures: Figures::default(),
        }
    }

    fn run(mut self, progress: &mut dyn FnMut(Progress)) -> Figures {
        let started = Instant::now();
        let of = self.trace.requests().len();
        let mut next = 0;
        let mut outcomes = Vec::new();
        let mut last = Micros(0);
        loop {
            let arrival = self.trace.requests().get(next).map(|request| self.arrival(request.at_ms));
            let retry = self.waiting.iter().map(|waiting| waiting.until).min();
            let Some(now) = [arrival, retry, self.engines.next()].into_iter().flatten().min() else { break };
            last = now;
            self.engines.advance(now, &mut outcomes);
            for (group, outcome) in outcomes.drain(..) {
                self.step(group, outcome);
            }
            self.retry(now);
            while next < of && self.arrival(self.trace.requests()[next].at_ms) <= now {
                self.figures.requests += 1;
                self.place(next, now, now);
                next += 1;
                if next % PROGRESS_EVERY == 0 || next == of {
                    progress(Progress { requests: next, of, simulated: Duration::from_micros(now.0) });
                }
            }
        }
        self.figures.imbalance(self.engines.imbalance());
        self.figures.fallback_decisions = self.decider.failures();
        self.figures.simulated_s = last.0 as f64 / 1e6;
        self.figures.took_s = started.elapsed().as_secs_f64();
        self.figures
    }

    fn arrival(&self, at_ms: u64) -> Micros {
        Micros((at_ms as f64 * 1000.0 / self.fleet.speed) as u64)
    }

    /// A step of a group has ended.
    fn step(&mut self, group: usize, outcome: StepOutcome) {
        let at = outcome.at;
        // An engine's events leave it before its answers are read.
        for (rank, changes) in &outcome.changes {
            self.decider.learn(self.engines.rank_of(group, *rank), changes, at);
        }
        for (id, progress) in outcome.progress {
            let Some(running) = self.running.get_mut(&id) else { continue };
            match running.said_at.replace(at) {
                None => {
                    self.figures.first_token(at.since(running.arrived));
                    let before = running.sent.since(running.arrived);
                    self.figures.queued(before + progress.queued_us);
                    running.load.first_output(at);
                }
                Some(before) => self.figures.next_token(at.since(before)),
            }
            if progress.finished
                && let Some(running) = self.running.remove(&id)
            {
                self.figures.finished(running.prompt_tokens, progress.cached_tokens);
                running.load.finish(at);
                self.load_changed = true;
            }
        }
    }

    /// Asks again for those who wait, where their time has come or the load has changed.
    fn retry(&mut self, now: Micros) {
        let changed = std::mem::take(&mut self.load_changed);
        for waiting in std::mem::take(&mut self.waiting) {
            if changed || waiting.until <= now {
                self.place(waiting.number, waiting.arrived, now);
            } else {
                self.waiting.push_back(waiting);
            }
        }
    }

    fn place(&mut self, number: usize, arrived: Micros, now: Micros) {
        let request = &self.trace.requests()[number];
        match self.decider.decide(request, now, &mut self.engines) {
            Decided::Placed { rank, prompt, load } => {
                let id = SequenceId(number as u64);
                match self.engines.submit(rank, id, prompt(request.answer(number)), now) {
                    Ok(()) => {
                        let prompt_tokens = request.prompt_tokens;
                        let running = Running { arrived, sent: now, said_at: None, prompt_tokens, load };
                        self.running.insert(id, running);
                    }
                    Err(_) => {
                        load.refused(now);
                        self.figures.refused_by_engine += 1;
                    }
                }
            }
            Decided::Wait(ms) => {
                let over = arrived.after(u64::try_from(self.limits.timeout.as_micros()).unwrap_or(u64::MAX));
                if now >= over || self.waiting.len() >= self.limits.requests_max.get() {
                    self.figures.waited_too_long += 1;
                } else {
                    // Time passes also where a policy says 0.
                    let until = now.after(u64::from(ms.max(1)) * 1000).min(over);
                    self.waiting.push_back(Waiting { number, arrived, until });
                }
            }
            Decided::Rejected => self.figures.rejected += 1,
        }
    }
}

#[cfg(test)]
mod tests;
