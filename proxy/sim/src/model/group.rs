//! Ranks that step together: a step costs all of them what it costs the slowest.

use super::core::{CoreSpec, EngineCore, Refusal};
use super::pool::CacheChange;
use super::sequence::{Progress, Prompt, SequenceId};
use super::time::{Micros, Timing};

/// What a group's steps brought about.
#[derive(Debug, Default)]
pub struct StepOutcome {
    /// When the step ended.
    pub at: Micros,
    /// Sequences that said a token, in order.
    pub progress: Vec<(SequenceId, Progress)>,
    /// Per rank of the group that changed its cache, what changed.
    pub changes: Vec<(usize, Vec<CacheChange>)>,
}

/// A lockstep group. A rank that steps for itself is a group of one.
#[derive(Debug)]
pub struct Group {
    timing: Timing,
    misfit_stalls: bool,
    ranks: Vec<EngineCore>,
    /// When the step that is running ends.
    step_end: Option<Micros>,
    /// When the last step ended: the next starts no earlier.
    last_end: Micros,
}

impl Group {
    /// `ranks` empty ranks. `misfit_stalls`: while the first waiting sequence of any rank does not fit, no rank admits one.
    pub fn new(ranks: usize, spec: CoreSpec, timing: Timing, misfit_stalls: bool) -> Self {
        Self {
            timing,
            misfit_stalls,
            ranks: (0..ranks).map(|_| EngineCore::new(spec)).collect(),
            step_end: None,
            last_end: Micros(0),
        }
    }

    /// One of its ranks.
    pub fn rank(&self, rank: usize) -> Option<&EngineCore> {
        self.ranks.get(rank)
    }

    /// One of its ranks.
    pub fn rank_mut(&mut self, rank: usize) -> Option<&mut EngineCore> {
        self.ranks.get_mut(rank)
    }

    /// Takes a sequence. The caller has advanced the group to `now`.
    pub fn submit(
        &mut self,
        rank: usize,
        id: SequenceId,
        prompt: Prompt,
        now: Micros,
    ) -> Result<(), Refusal> {
        let core = self.ranks.get_mut(rank).ok_or(Refusal::Full)?;
        core.submit(id, prompt, now)?;
        self.start_step(now);
        Ok(())
    }

    /// Drops a sequence.
    pub fn abort(&mut self, rank: usize, id: SequenceId) -> bool {
        self.ranks.get_mut(rank).is_some_and(|core| core.abort(id))
    }

    /// When something happens next; `None` while nothing is asked of it.
    pub fn next(&self) -> Option<Micros> {
        self.step_end
    }

    /// Ends the step that is due by `now`, if one is, and starts the next. Call until `None`.
    pub fn advance(&mut self, now: Micros) -> Option<StepOutcome> {
        let at = self.step_end.filter(|&end| end <= now)?;
        let mut outcome = StepOutcome { at, ..StepOutcome::default() };
        for (rank, core) in self.ranks.iter_mut().enumerate() {
            core.finish_step(at, &mut outcome.progress);
            let changes = core.take_changes();
            if !changes.is_empty() {
                outcome.changes.push((rank, changes));
            }
        }
        self.step_end = None;
        self.last_end = at;
        self.start_step(at);
        Some(outcome)
    }

    fn start_step(&mut self, now: Micros) {
        if self.step_end.is_some() || !self.ranks.iter().any(EngineCore::busy) {
            return;
        }
        let start = now.max(self.last_end);
        let stalled = self.misfit_stalls && self.ranks.iter().any(EngineCore::misfit);
        let duration = self
            .ranks
            .iter_mut()
            .map(|core| {
                // The rank whose request does not fit must not admit a smaller one behind it, and cannot: first come, first served.
                let load = core.schedule(!stalled, start);
                self.timing.step(load)
            })
            .max()
            .unwrap_or(1);
        self.step_end = Some(start.after(duration));
    }
}
