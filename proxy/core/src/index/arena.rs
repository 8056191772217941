//! The trie's nodes, and the place each has.

use std::ops::{Index, IndexMut};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use smallvec::SmallVec;

use super::{RootKey, Slot};
use crate::event::{CacheGroup, Tier};
use crate::hash::{BlockHash, EngineHash};
use crate::ledger::BookingId;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeId(pub(crate) u32);

#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Root(RootKey),
    Child { parent: NodeId, content: BlockHash },
}

/// What a target calls one of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(super) engine: EngineHash,
    pub(super) group: CacheGroup,
    pub(super) tier: Tier,
}

/// That a target holds a block.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) slot: Slot,
    /// Its names for it: one, unless several tiers or cache groups hold it.
    pub(super) names: SmallVec<[Name; 1]>,
}

impl Held {
    pub(crate) fn on(&self, tier: Tier) -> bool {
        self.names.iter().any(|name| name.tier == tier)
    }

    /// The fastest tier that holds it.
    pub(crate) fn fastest(&self) -> Tier {
        self.names.iter().map(|name| name.tier).min().unwrap_or(Tier::Disk)
    }
}

/// What one target's bookings claim of a block.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) slot: Slot,
    /// Live bookings whose prompt contains the block.
    pub(crate) live: u32,
    /// Bookings for which it is pending, oldest first: the first owns it.
    pub(crate) pending: SmallVec<[BookingId; 1]>,
}

impl Claim {
    pub(super) fn new(slot: Slot) -> Self {
        Self { slot, live: 0, pending: SmallVec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live == 0 && self.pending.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) depth: u32,
    pub(super) children: u32,
    touched: AtomicBool,
    /// Sorted by slot.
    pub(super) held: Vec<Held>,
    /// Sorted by slot.
    pub(super) claims: Vec<Claim>,
}

impl Node {
    pub(super) fn is_unused(&self) -> bool {
        self.children == 0 && self.held.is_empty() && self.claims.is_empty()
    }

    pub(super) fn touch(&self) {
        if !self.touched.load(Relaxed) {
            self.touched.store(true, Relaxed);
        }
    }

    /// Whether it was touched since the last time this was asked.
    pub(super) fn take_touch(&self) -> bool {
        self.touched.swap(false, Relaxed)
    }
}

/// Nodes by number; numbers of freed nodes are used again.
#[derive(Debug, Default)]
pub(super) struct Arena {
    nodes: Vec<Option<Node>>,
    free: Vec<NodeId>,
}

impl Arena {
    pub(super) fn insert(&mut self, place: Place, depth: u32) -> NodeId {
        let touched = AtomicBool::new(true);
        let node = Some(Node { place, depth, children: 0, touched, held: Vec::new(), claims: Vec::new() });
        if let Some(id) = self.free.pop() {
            self.nodes[id.0 as usize] = node;
            return id;
        }
        self.nodes.push(node);
        NodeId((self.nodes.len() - 1) as u32)
    }

    pub(super) fn remove(&mut self, id: NodeId) -> Place {
        let place = self[id].place;
        self.nodes[id.0 as usize] = None;
        self.free.push(id);
        place
    }

    pub(super) fn get(&self, position: usize) -> Option<&Node> {
        self.nodes.get(position).and_then(Option::as_ref)
    }

    /// Positions that nodes may have.
    pub(super) fn positions(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Option<Node>>() + self.free.capacity() * size_of::<NodeId>()
    }
}

impl Index<NodeId> for Arena {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        self.nodes[id.0 as usize].as_ref().expect("only live nodes are referred to")
    }
}

impl IndexMut<NodeId> for Arena {
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.0 as usize].as_mut().expect("only live nodes are referred to")
    }
}
