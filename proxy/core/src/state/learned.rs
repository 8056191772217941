//! The prompts that a target without events was sent.

use std::collections::VecDeque;

use crate::hash::Chain;
use crate::ids::Millis;

/// A prompt is remembered at most so often over; what was remembered longest ago goes first.
const COPIES_MAX: usize = 16;

/// What one target was sent, oldest first.
#[derive(Debug)]
pub(super) struct Learned {
    prompts: VecDeque<(Millis, Chain)>,
    /// Over all prompts, blocks that several contain counted for each.
    blocks: usize,
    blocks_max: u32,
}

impl Learned {
    /// Nothing yet, and at most so many distinct blocks.
    pub(super) fn new(blocks_max: u32) -> Self {
        Self { prompts: VecDeque::new(), blocks: 0, blocks_max }
    }

    pub(super) fn add(&mut self, chain: Chain, now: Millis) {
        self.blocks += chain.len();
        self.prompts.push_back((now, chain));
    }

    /// Whether it is too much, with so many distinct blocks.
    pub(super) fn is_over(&self, distinct: u32) -> bool {
        distinct > self.blocks_max || self.blocks > COPIES_MAX * self.blocks_max as usize
    }

    /// When the oldest prompt was sent.
    pub(super) fn oldest(&self) -> Option<Millis> {
        self.prompts.front().map(|(at, _)| *at)
    }

    pub(super) fn take_oldest(&mut self) -> Option<Chain> {
        let (_, chain) = self.prompts.pop_front()?;
        self.blocks -= chain.len();
        Some(chain)
    }

    pub(super) fn clear(&mut self) {
        self.prompts.clear();
        self.blocks = 0;
    }
}
