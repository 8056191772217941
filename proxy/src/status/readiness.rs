//! Whether the proxy should be sent traffic, and what is missing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rankwise_core::target::Availability;

use crate::discovery::Roster;
use crate::prompts::PromptMode;

/// Ready means: every pool has a dp rank that may be picked, and knows of its prompts what its policy asks for.
///
/// At the start, moreover, every worker has been asked: the first rank to be found would take all the traffic. A worker
/// that does not answer is no obstacle once that is known, or one dead worker would keep all others out of service; nor
/// is one that is added later, while the others serve.
pub struct Readiness {
    rosters: Arc<[Roster]>,
    /// It was ready once: the start is over.
    started: AtomicBool,
    draining: AtomicBool,
}

/// What was found, a line each.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Why it is not ready; empty when it is.
    pub(super) obstacles: Vec<String>,
    /// What is missing all the same.
    pub(super) remarks: Vec<String>,
}

impl Readiness {
    /// Of these pools.
    pub fn new(rosters: Arc<[Roster]>) -> Self {
        Self { rosters, started: AtomicBool::new(false), draining: AtomicBool::new(false) }
    }

    /// Not ready any more, for good.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    pub(super) fn findings(&self) -> Findings {
        let mut findings = Findings::default();
        if self.draining.load(Relaxed) {
            findings.obstacles.push("draining".to_owned());
            return findings;
        }
        let started = self.started.load(Relaxed);
        for roster in self.rosters.iter() {
            look_at(roster, started, &mut findings);
        }
        if findings.obstacles.is_empty() {
            self.started.store(true, Relaxed);
        }
        findings
    }
}

fn look_at(roster: &Roster, started: bool, findings: &mut Findings) {
    let pool = roster.pool();
    let targets = pool.state.targets();
    let ready = |target: &&Arc<_>| availability(target) == Availability::Ready;
    let pickable = targets.iter().filter(ready).count();
    let line = |what: String| format!("pool {}: {what}", pool.name);
    if pickable == 0 {
        findings.obstacles.push(line("no dp rank may be picked".to_owned()));
    } else if !pool.is_served() {
        findings.obstacles.push(line(
            "no dp rank that may be picked takes whole requests, or one leg of them has none".to_owned(),
        ));
    } else if pickable < targets.len() {
        findings.remarks.push(line(format!("{pickable} of {} dp ranks may be picked", targets.len())));
    }
    for (worker, _, status) in roster.list() {
        let (state, reason) = status.get();
        let told = match reason {
            Some(reason) => line(format!("worker {}: {state}: {reason}", worker.name)),
            None => line(format!("worker {}: {state}", worker.name)),
        };
        match state {
            "ready" => {}
            "starting" if !started => findings.obstacles.push(told),
            _ if !pool.is_served() => findings.obstacles.push(told),
            _ => findings.remarks.push(told),
        }
    }
    let contradictions = pool.parity.contradictions(&pool.workers.current());
    findings.remarks.extend(contradictions.iter().map(|told| line(format!("overlap approximate: {told}"))));
    if pool.policies.needs_prompt()
        && let PromptMode::None { reason, undecided } = &*pool.prompts.mode()
    {
        let told = line(format!("prompts are not read: {reason}"));
        if *undecided {
            findings.obstacles.push(told);
        } else {
            findings.remarks.push(told);
        }
    }
}

fn availability(target: &rankwise_core::target::Target) -> Availability {
    target.health.availability()
}
