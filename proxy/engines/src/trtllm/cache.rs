//! One rank's cache as its events tell it: which blocks can be indexed, and what has to be known to move or remove them.

use std::collections::HashMap;

use rankwise_core::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use rankwise_core::hash::{BlockHash, EngineHash};

use super::events::{Block, CacheKey, Change};
use crate::events::{SkipReason, Skipped, Translation};

/// The blocks that the engine said it holds, by name.
#[derive(Debug)]
pub(super) struct RankCache {
    translation: Translation,
    key: Option<CacheKey>,
    held: HashMap<EngineHash, Held>,
    held_max: usize,
    skipped: Skipped,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
enum Held {
    /// A block of the index.
    Indexed { parent: Parent, content: BlockHash, tier: Tier },
    /// A partial block, one of something else than text, or one behind such a block: no prompt is found by it.
    Other,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Took {
    /// Blocks that are held and were not.
    pub(super) stored: usize,
    /// Blocks whose parent is not known.
    pub(super) orphans: usize,
    /// There are more blocks than may be remembered: nothing is, from here on.
    pub(super) overflow: bool,
    /// All before is to be forgotten.
    pub(super) cleared: bool,
}

impl RankCache {
    pub(super) fn new(translation: Translation, held_max: usize) -> Self {
        Self { translation, key: None, held: HashMap::new(), held_max, skipped: Skipped::default() }
    }

    /// Blocks that were not indexed, by reason.
    pub(super) fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// From now on nothing is known to be held.
    pub(super) fn forget(&mut self) {
        self.held.clear();
    }

    /// Takes a change of one of the rank's caches, and appends what it is to the index. Of several caches the one that holds the
    /// longest prefixes counts.
    pub(super) fn take(&mut self, key: CacheKey, change: &Change, out: &mut Vec<CacheEvent>) -> Took {
        let mut took = Took::default();
        match self.key {
            Some(known) if known == key => {}
            Some(known) if !key.is_better_than(known) => return took,
            known => {
                self.key = Some(key);
                took.cleared = known.is_some() && !self.held.is_empty();
                self.held.clear();
            }
        }
        match change {
            Change::Stored { parent, blocks } => self.store(*parent, blocks, &mut took, out),
            Change::Removed(names) => names.iter().for_each(|name| self.remove(*name, out)),
            Change::Updated { block, tier: Some(tier) } => self.lay(*block, *tier, out),
            Change::Created { .. } | Change::Cleared => {
                self.held.clear();
                took.cleared = true;
            }
            Change::Updated { tier: None, .. } | Change::Unknown => {}
        }
        if self.held.len() > self.held_max {
            self.held.clear();
            took.overflow = true;
        }
        took
    }

    fn store(
        &mut self,
        parent: Option<EngineHash>,
        blocks: &[Block],
        took: &mut Took,
        out: &mut Vec<CacheEvent>,
    ) {
        // `None` once nothing that follows can be indexed.
        let mut parent = match parent.map(|name| (name, self.held.get(&name))) {
            None => {
                let salt = blocks.first().and_then(|block| block.salt.as_deref());
                let Translation { key, model, .. } = &self.translation;
                Some(Parent::Root(key.namespace(model, None, salt)))
            }
            Some((name, Some(Held::Indexed { .. }))) => Some(Parent::Block(name)),
            Some((_, Some(Held::Other))) => None,
            Some((_, None)) => {
                took.orphans += blocks.len();
                None
            }
        };
        for (at, block) in blocks.iter().enumerate() {
            let whole = |tokens: &&Vec<u32>| tokens.len() == self.translation.block_size.0 as usize;
            let content =
                block.tokens.as_ref().filter(whole).map(|tokens| self.translation.key.block(tokens, &[]));
            if parent.is_some() && content.is_none() {
                // What another block follows is no partial one.
                self.skipped.add(match &block.tokens {
                    None => SkipReason::Tokens,
                    Some(_) if at + 1 < blocks.len() => SkipReason::BlockSize,
                    Some(tokens) if tokens.len() > self.translation.block_size.0 as usize => {
                        SkipReason::BlockSize
                    }
                    Some(_) => SkipReason::Length,
                });
            }
            let Some((before, content)) = parent.zip(content) else {
                parent = None;
                took.stored += usize::from(self.held.insert(block.name, Held::Other).is_none());
                continue;
            };
            parent = Some(Parent::Block(block.name));
            if matches!(self.held.get(&block.name), Some(Held::Indexed { .. })) {
                continue;
            }
            took.stored += 1;
            self.held.insert(block.name, Held::Indexed { parent: before, content, tier: block.tier });
            push_stored(
                out,
                before,
                StoredBlock { engine: block.name, content },
                block.tier,
                &self.translation,
            );
        }
    }

    fn remove(&mut self, name: EngineHash, out: &mut Vec<CacheEvent>) {
        if let Some(Held::Indexed { tier, .. }) = self.held.remove(&name) {
            push_removed(out, name, tier);
        }
    }

    /// A block lies in another tier now.
    fn lay(&mut self, name: EngineHash, to: Tier, out: &mut Vec<CacheEvent>) {
        let Some(Held::Indexed { parent, content, tier }) = self.held.get_mut(&name) else { return };
        let from = std::mem::replace(tier, to);
        if from != to {
            push_stored(out, *parent, StoredBlock { engine: name, content: *content }, to, &self.translation);
            push_removed(out, name, from);
        }
    }
}

/// Blocks that follow each other are one event.
fn push_stored(out: &mut Vec<CacheEvent>, parent: Parent, block: StoredBlock, tier: Tier, by: &Translation) {
    match out.last_mut() {
        Some(CacheEvent::Stored { blocks, tier: of, .. })
            if *of == tier && blocks.last().is_some_and(|last| parent == Parent::Block(last.engine)) =>
        {
            blocks.push(block);
        }
        _ => out.push(CacheEvent::Stored {
            parent,
            blocks: vec![block],
            block_size: by.block_size,
            tier,
            group: CacheGroup(0),
        }),
    }
}

fn push_removed(out: &mut Vec<CacheEvent>, name: EngineHash, tier: Tier) {
    match out.last_mut() {
        Some(CacheEvent::Removed { blocks, tier: of, .. }) if *of == tier => blocks.push(name),
        _ => out.push(CacheEvent::Removed { blocks: vec![name], tier, group: CacheGroup(0) }),
    }
}
