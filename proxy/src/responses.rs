//! Which worker keeps a response: engines keep what `/v1/responses` answered in the server that answered it, so what refers to it has
//! to come there.

use rankwise_core::generations::Generations;
use rankwise_core::hash::HashKey;
use rankwise_core::ids::{Millis, TargetId, WorkerId};

use crate::config;

/// The responses of a pool, by hashes of their ids: an id takes no memory here, however long it is.
pub struct KeptResponses {
    secret: HashKey,
    table: Generations<Keeper>,
}

/// Who keeps a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keeper {
    /// The worker whose server made it.
    pub worker: WorkerId,
    /// The rank that did, where that is known: its prompt and its answer are cached there.
    pub target: Option<TargetId>,
}

impl KeptResponses {
    /// None yet.
    pub fn new(config: &config::Responses, secret: &HashKey) -> Self {
        let ttl_ms = u64::try_from(config.ttl.as_millis()).unwrap_or(u64::MAX);
        Self { secret: secret.clone(), table: Generations::new(config.remembered_max.get(), ttl_ms) }
    }

    /// A worker has made this response for this tenant (0: none). How many others had to be forgotten for it.
    pub fn remember(&self, id: &str, tenant_key: u64, keeper: Keeper, now: Millis) -> usize {
        self.table.put(self.slot(id, tenant_key), keeper, now).evicted
    }

    /// Who keeps it. The responses of other tenants are nobody's.
    pub fn keeper(&self, id: &str, tenant_key: u64, now: Millis) -> Option<Keeper> {
        self.table.get(self.slot(id, tenant_key), now)
    }

    /// It is kept no more.
    pub fn forget(&self, id: &str, tenant_key: u64) {
        self.table.remove(self.slot(id, tenant_key));
    }

    /// Responses remembered.
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// Under a secret, so that no client can make up ids that meet in the table.
    fn slot(&self, id: &str, tenant_key: u64) -> u64 {
        self.secret.bytes(&[&tenant_key.to_le_bytes(), id.as_bytes()].concat())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use super::*;

    fn keeper(worker: u32) -> Keeper {
        Keeper { worker: WorkerId(worker), target: None }
    }

    #[test]
    fn a_response_is_found_by_its_tenant_until_its_time_is_over() {
        let config = config::Responses { remembered_max: NonZeroUsize::MIN, ttl: Duration::from_secs(1) };
        let kept = KeptResponses::new(&config, &HashKey::new([7; 32]));
        assert_eq!(kept.remember("resp_1", 5, keeper(1), Millis(0)), 0);
        assert_eq!(kept.keeper("resp_1", 5, Millis(999)), Some(keeper(1)));
        for (id, tenant, now) in [("resp_1", 0, 0), ("resp_1", 6, 0), ("resp_2", 5, 0), ("resp_1", 5, 1000)] {
            assert_eq!(kept.keeper(id, tenant, Millis(now)), None);
        }
        // Said again, by another worker.
        kept.remember("resp_1", 5, keeper(2), Millis(500));
        assert_eq!(kept.keeper("resp_1", 5, Millis(1200)), Some(keeper(2)));
        kept.forget("resp_1", 5);
        assert_eq!((kept.keeper("resp_1", 5, Millis(600)), kept.count()), (None, 0));
    }
}
