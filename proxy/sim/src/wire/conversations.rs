//! TensorRT-LLM's own affinity: the turns of a conversation come to the rank that its first was placed on.

use std::collections::VecDeque;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::incoming::Incoming;
use crate::{EngineWire, FleetSpec};

/// Conversations that are remembered, as many as the engine does.
const CONVERSATIONS_MAX: usize = 65_536;

/// Headers that name a conversation: the first that is filled counts.
const HEADERS: [&str; 4] =
    ["x-session-id", "x-correlation-id", "x-session-affinity", "x-multi-turn-session-id"];

/// Where the conversations of a worker live.
#[derive(Debug, Default)]
pub(super) struct Conversations(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    ranks: FxHashMap<String, usize>,
    /// Their names, as they began.
    begun: VecDeque<String>,
}

impl Conversations {
    /// The rank of a conversation, of a new one the rank that `place` says; where there is none, every request is placed.
    pub(super) fn rank_of(&self, name: Option<String>, place: impl FnOnce() -> usize) -> usize {
        let Some(name) = name else { return place() };
        let mut table = self.0.lock();
        if let Some(rank) = table.ranks.get(&name) {
            return *rank;
        }
        if table.begun.len() >= CONVERSATIONS_MAX
            && let Some(oldest) = table.begun.pop_front()
        {
            table.ranks.remove(&oldest);
        }
        let rank = place();
        table.begun.push_back(name.clone());
        table.ranks.insert(name, rank);
        rank
    }

    /// As a new process.
    pub(super) fn forget(&self) {
        *self.0.lock() = Table::default();
    }
}

/// The conversation that a request names, where the engine heeds it: its body wins over its headers.
pub(super) fn name(spec: &FleetSpec, incoming: &Incoming<'_>) -> Option<String> {
    if !spec.keeps_conversations || spec.engine != EngineWire::Trtllm {
        return None;
    }
    let body: Value = serde_json::from_slice(incoming.body).unwrap_or_default();
    let by_body = body["conversation_params"]["conversation_id"].as_str().map(str::to_owned);
    let by_header = || {
        let filled =
            |name: &&str| incoming.headers.get(*name)?.to_str().ok().filter(|value| !value.is_empty());
        HEADERS.iter().find_map(filled).map(str::to_owned)
    };
    by_body.or_else(by_header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_stays_where_it_was_placed_until_it_is_forgotten() {
        let conversations = Conversations::default();
        let at = |name: Option<&str>, rank| conversations.rank_of(name.map(str::to_owned), || rank);
        assert_eq!((at(Some("a"), 1), at(Some("b"), 2), at(Some("a"), 3)), (1, 2, 1));
        assert_eq!((at(None, 3), at(None, 0)), (3, 0));
        conversations.forget();
        assert_eq!(at(Some("a"), 3), 3);
        for other in 0..CONVERSATIONS_MAX {
            at(Some(&format!("other {other}")), 0);
        }
        assert_eq!(at(Some("a"), 2), 2, "the oldest goes");
    }
}
