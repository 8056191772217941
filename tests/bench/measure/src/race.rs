//! Several indexes through one workload, side by side: the machine's mood is the same for all of them.
//!
//! Batch by batch and in turns, each is given the same events; then, in turns again, the prompts of the last batches are
//! looked up in what they have become.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::contender::Contender;
use crate::memory::live_bytes;
use crate::samples::Samples;
use crate::trace::TraceRequest;
use crate::workload::{Spec, Step, Workload};

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Laps {
    /// Requests served with full caches: their events are what is timed.
    pub churn: usize,
    /// How often each of their prompts is looked up.
    pub rounds: usize,
}

/// What one contender did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// CPU time and blocks of the events that filled the caches.
    pub filling: Spent,
    /// The same with full caches, as many blocks stored as removed.
    pub churn: Spent,
    /// Look-ups, at the end, nothing else going on.
    pub lookups: Samples,
    /// Bytes held at the end.
    pub bytes: i64,
    /// (block, rank) pairs at the end.
    pub entries: u64,
    /// Ranks, over all prompts compared, for which it found another overlap than the first contender.
    pub differences: u64,
}

/// CPU time by number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// CPU time.
    pub cpu: Duration,
    /// Blocks.
    pub blocks: u64,
}

impl Spent {
    /// ns per block.
    pub fn per_block(&self) -> f64 {
        self.cpu.as_nanos() as f64 / self.blocks.max(1) as f64
    }
}

impl Outcome {
    /// Bytes per (block, rank) pair.
    pub fn bytes_per_entry(&self) -> f64 {
        self.bytes as f64 / self.entries.max(1) as f64
    }
}

/// Blocks in one turn: a few milliseconds' work.
const TURN_BLOCKS: u64 = 50_000;

/// Look-ups in one turn.
const TURN_LOOKUPS: usize = 250;

/// Prompts whose overlaps are compared, one in so many.
const COMPARED: usize = 8;

/// Runs the race; one outcome for each contender.
///
/// # Errors
/// If two contenders name different overlaps for the same prompt.
pub fn run(
    trace: &[TraceRequest],
    spec: Spec,
    laps: Laps,
    contenders: &mut [Box<dyn Contender>],
) -> anyhow::Result<Vec<Outcome>> {
    let mut workload = Workload::new(trace, spec);
    let mut outcomes = vec![Outcome::default(); contenders.len()];
    let mut turn = 0;
    while !workload.is_full() {
        let steps = batch(&mut workload, |workload, _| !workload.is_full());
        apply(&steps, turn, contenders, &mut outcomes, |outcome| &mut outcome.filling);
        turn += 1;
    }
    let mut prompts = Vec::with_capacity(laps.churn);
    while prompts.len() < laps.churn {
        let left = laps.churn - prompts.len();
        let steps = batch(&mut workload, |_, steps| steps < left);
        apply(&steps, turn, contenders, &mut outcomes, |outcome| &mut outcome.churn);
        prompts.extend(steps.into_iter().map(|step| step.prompt));
        turn += 1;
    }
    for (contender, outcome) in contenders.iter_mut().zip(&mut outcomes) {
        let before = live_bytes();
        contender.settle();
        outcome.bytes += live_bytes() - before;
        outcome.entries = workload.resident();
    }
    compare(&prompts, contenders, &mut outcomes);
    for round in 0..laps.rounds {
        for (number, chunk) in prompts.chunks(TURN_LOOKUPS).enumerate() {
            look_up(chunk, round + number, contenders, &mut outcomes);
        }
    }
    let differing: Vec<String> = contenders
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| outcome.differences > 0)
        .map(|(contender, outcome)| format!("{} {}", contender.name(), outcome.differences))
        .collect();
    ensure!(
        differing.is_empty(),
        "overlaps differ from those of {}: {}",
        contenders[0].name(),
        differing.join(", ")
    );
    Ok(outcomes)
}

/// Steps for one turn, while `more` wants any.
fn batch(workload: &mut Workload<'_>, more: impl Fn(&Workload<'_>, usize) -> bool) -> Vec<Step> {
    let (mut steps, mut blocks) = (Vec::new(), 0);
    while blocks < TURN_BLOCKS && more(workload, steps.len()) {
        let step = workload.step();
        blocks += step.blocks();
        steps.push(step);
    }
    steps
}

fn apply(
    steps: &[Step],
    turn: usize,
    contenders: &mut [Box<dyn Contender>],
    outcomes: &mut [Outcome],
    lap: impl Fn(&mut Outcome) -> &mut Spent,
) {
    let blocks: u64 = steps.iter().map(Step::blocks).sum();
    for number in in_turn(turn, contenders.len()) {
        let (contender, outcome) = (&mut contenders[number], &mut outcomes[number]);
        let before = live_bytes();
        contender.prepare(steps);
        let cpu = contender.apply();
        outcome.bytes += live_bytes() - before;
        let spent = lap(outcome);
        spent.cpu += cpu;
        spent.blocks += blocks;
    }
}

fn look_up(
    prompts: &[Vec<u64>],
    turn: usize,
    contenders: &mut [Box<dyn Contender>],
    outcomes: &mut [Outcome],
) {
    for number in in_turn(turn, contenders.len()) {
        let contender = &mut contenders[number];
        for prompt in prompts {
            contender.ask(prompt);
            let start = Instant::now();
            contender.look_up();
            outcomes[number].lookups.push(start.elapsed());
        }
    }
}

fn compare(prompts: &[Vec<u64>], contenders: &mut [Box<dyn Contender>], outcomes: &mut [Outcome]) {
    for prompt in prompts.iter().step_by(COMPARED) {
        let found = contenders.iter_mut().map(|contender| {
            contender.ask(prompt);
            contender.look_up();
            contender.overlaps()
        });
        let found: Vec<Vec<u32>> = found.collect();
        for (overlaps, outcome) in found.iter().zip(outcomes.iter_mut()) {
            let differ = overlaps.iter().zip(&found[0]).filter(|(one, other)| one != other).count();
            outcome.differences += differ as u64 + overlaps.len().abs_diff(found[0].len()) as u64;
        }
    }
}

/// Everybody once, somebody else first every turn.
fn in_turn(turn: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |number| (number + turn) % count)
}

#[cfg(test)]
mod tests;
