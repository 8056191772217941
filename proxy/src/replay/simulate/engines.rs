//! The fleet's engines: lockstep groups of simulated ranks, numbered throughout.

use std::ops::Range;

use rankwise_sim::Micros;
use rankwise_sim::model::core::Refusal;
use rankwise_sim::model::group::{Group, StepOutcome};
use rankwise_sim::model::sequence::{Prompt, SequenceId};

use super::FleetShape;

pub(super) struct Engines {
    groups: Vec<Group>,
    ranks_per_group: usize,
    loads: Vec<GroupLoad>,
    turn: usize,
}

/// How unevenly a group's blocks were in use, over its busy time.
#[derive(Clone, Copy, Debug, Default)]
struct GroupLoad {
    last: Micros,
    /// The fullest rank's blocks by the mean, times microseconds.
    weighted: f64,
    micros: u64,
}

impl Engines {
    pub(super) fn new(fleet: &FleetShape) -> Self {
        let ranks_per_group = if fleet.lockstep { fleet.ranks as usize } else { 1 };
        let groups = fleet.ranks_in_all() / ranks_per_group;
        let group = || Group::new(ranks_per_group, fleet.core, fleet.timing, fleet.lockstep);
        Self {
            groups: (0..groups).map(|_| group()).collect(),
            ranks_per_group,
            loads: vec![GroupLoad::default(); groups],
            turn: 0,
        }
    }

    /// When the next step ends.
    pub(super) fn next(&self) -> Option<Micros> {
        self.groups.iter().filter_map(Group::next).min()
    }

    /// Ends the steps that are due by `now`, each with the number of its group.
    pub(super) fn advance(&mut self, now: Micros, outcomes: &mut Vec<(usize, StepOutcome)>) {
        for (number, group) in self.groups.iter_mut().enumerate() {
            while let Some(outcome) = group.advance(now) {
                self.loads[number].look(group, self.ranks_per_group, outcome.at);
                outcomes.push((number, outcome));
            }
        }
    }

    /// Number of a rank of a group within the fleet.
    pub(super) fn rank_of(&self, group: usize, rank: usize) -> usize {
        group * self.ranks_per_group + rank
    }

    /// Hands a sequence to a rank.
    pub(super) fn submit(
        &mut self,
        rank: usize,
        id: SequenceId,
        prompt: Prompt,
        now: Micros,
    ) -> Result<(), Refusal> {
        let (group, rank) = (rank / self.ranks_per_group, rank % self.ranks_per_group);
        let group = self.groups.get_mut(group).ok_or(Refusal::Full)?;
        group.submit(rank, id, prompt, now)
    }

    /// The choice of an engine's own balancer among its ranks: fewest requests, in turn among equals.
    pub(super) fn least_loaded(&mut self, ranks: Range<usize>) -> usize {
        self.turn += 1;
        let count = ranks.len().max(1);
        (0..count)
            .map(|offset| ranks.start + (self.turn + offset) % count)
            .min_by_key(|&rank| {
                let group = self.groups.get(rank / self.ranks_per_group);
                let core = group.and_then(|group| group.rank(rank % self.ranks_per_group));
                core.map_or(usize::MAX, |core| {
                    let stats = core.stats();
                    stats.running + stats.waiting
                })
            })
            .unwrap_or(ranks.start)
    }

    /// Per group, how full its fullest rank was by the mean of its ranks, over the time in which it had work; 1 is even.
    pub(super) fn imbalance(&self) -> Vec<f64> {
        self.loads.iter().map(|load| load.weighted / (load.micros.max(1) as f64)).collect()
    }
}

impl GroupLoad {
    fn look(&mut self, group: &Group, ranks: usize, at: Micros) {
        let micros = at.since(std::mem::replace(&mut self.last, at));
        let used = |rank| group.rank(rank).map_or(0, |core| core.stats().used_blocks);
        let sum: u64 = (0..ranks).map(|rank| u64::from(used(rank))).sum();
        if sum > 0 {
            let most = (0..ranks).map(used).max().unwrap_or(0);
            self.weighted += f64::from(most) * ranks as f64 / sum as f64 * micros as f64;
            self.micros += micros;
        }
    }
}
