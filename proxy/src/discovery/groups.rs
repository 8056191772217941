//! Numbers of lockstep groups.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rankwise_core::ids::GroupId;

/// Gives groups their numbers: each its own, but for workers of one pool that name the same group.
#[derive(Debug, Default)]
pub(super) struct Groups {
    next: AtomicU32,
    /// Those with a name, for as long as a worker is in it.
    shared: Mutex<HashMap<PoolAndName, Weak<GroupId>>>,
}

type PoolAndName = (String, Arc<str>);

/// The groups of one worker's ranks.
#[derive(Debug)]
pub(super) enum WorkerGroups {
    /// Its own, counted from this one.
    Own(GroupId),
    /// One for all of its ranks, and for other workers'.
    Shared(Arc<GroupId>),
}

impl Groups {
    /// So many groups for a worker, or the one that it names.
    pub(super) fn of(&self, pool: &str, name: Option<&Arc<str>>, count: u32) -> WorkerGroups {
        let Some(name) = name else {
            return WorkerGroups::Own(GroupId(self.next.fetch_add(count, Relaxed)));
        };
        let mut shared = self.shared.lock();
        shared.retain(|_, group| group.strong_count() > 0);
        let key = (pool.to_owned(), Arc::clone(name));
        if let Some(group) = shared.get(&key).and_then(Weak::upgrade) {
            return WorkerGroups::Shared(group);
        }
        let group = Arc::new(GroupId(self.next.fetch_add(1, Relaxed)));
        shared.insert(key, Arc::downgrade(&group));
        WorkerGroups::Shared(group)
    }
}

impl WorkerGroups {
    /// That of a rank, by its group within the worker.
    pub(super) fn number(&self, within: u32) -> GroupId {
        match self {
            Self::Own(first) => GroupId(first.0 + within),
            Self::Shared(group) => **group,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_is_shared_and_only_within_a_pool() {
        let groups = Groups::default();
        let name: Arc<str> = Arc::from("one");
        let own = groups.of("a", None, 4);
        assert_eq!((own.number(0), own.number(3)), (GroupId(0), GroupId(3)));
        let first = groups.of("a", Some(&name), 4);
        assert_eq!((first.number(0), first.number(3)), (GroupId(4), GroupId(4)));
        assert_eq!(groups.of("a", Some(&name), 4).number(1), GroupId(4));
        assert_eq!(groups.of("b", Some(&name), 4).number(0), GroupId(5));
        drop(first);
        // Nobody is in it any more: who comes next begins another.
        assert_eq!(groups.of("a", Some(&name), 4).number(0), GroupId(6));
    }
}
