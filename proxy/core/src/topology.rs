//! Which targets there are, in the order of a snapshot's rows.

use std::sync::Arc;

use crate::ids::{GroupId, TargetId, WorkerId};
use crate::index::Slot;
use crate::target::Target;

/// An immutable list of targets, replaced as a whole.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    targets: Arc<[Arc<Target>]>,
    /// Beside each target.
    places: Vec<Place>,
    /// Sorted.
    groups: Vec<GroupId>,
}

/// What a target's numbers are inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) slot: Slot,
    /// Dense number of its group.
    pub(crate) group: usize,
    /// Ranks of its worker.
    pub(crate) ranks: u32,
}

impl Topology {
    pub(crate) fn new(mut members: Vec<(Arc<Target>, Slot)>) -> Self {
        members.sort_by_key(|(target, _)| (target.spec.worker, target.spec.rank, target.id));
        let mut groups: Vec<GroupId> = members.iter().map(|(target, _)| target.spec.group).collect();
        groups.sort_unstable();
        groups.dedup();
        let workers: Vec<WorkerId> = members.iter().map(|(target, _)| target.spec.worker).collect();
        let places = members
            .iter()
            .map(|(target, slot)| {
                let worker = target.spec.worker;
                let ranks = workers.partition_point(|known| *known <= worker)
                    - workers.partition_point(|known| *known < worker);
                Place {
                    slot: *slot,
                    group: groups.partition_point(|known| *known < target.spec.group),
                    ranks: ranks as u32,
                }
            })
            .collect();
        let targets = members.into_iter().map(|(target, _)| target).collect();
        Self { targets, places, groups }
    }

    pub(crate) fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    pub(crate) fn shared_targets(&self) -> Arc<[Arc<Target>]> {
        Arc::clone(&self.targets)
    }

    /// Every target with its numbers.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&Arc<Target>, Place)> {
        self.targets.iter().zip(self.places.iter().copied())
    }

    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The dense number of a group.
    pub(crate) fn group(&self, group: GroupId) -> Option<usize> {
        self.groups.binary_search(&group).ok()
    }

    /// The targets of a worker.
    pub(crate) fn of_worker(&self, worker: WorkerId) -> impl Iterator<Item = (TargetId, Slot)> {
        self.members()
            .filter(move |(target, _)| target.spec.worker == worker)
            .map(|(target, place)| (target.id, place.slot))
    }
}
