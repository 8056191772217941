//! A request as placement sees it: how long its prompt is, and which blocks it consists of.

use smallvec::SmallVec;

use crate::hash::{BlockHash, Chain, Namespace, PrefixHash};
use crate::ids::BlockSize;
use crate::policy::Phase;

/// A tokenised prompt: one chain of block hashes for each distinct block size in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Where its blocks live.
    pub namespace: Namespace,
    /// Tokens.
    pub tokens: u32,
    /// A hash of its first tokens, the same on every replica of the proxy; 0 if nobody made one.
    pub prefix_key: u64,
    /// The whole blocks, by block size. A target whose size is missing here has no overlap.
    pub blocks: SmallVec<[(BlockSize, Chain); 1]>,
}

impl Prompt {
    /// A prompt hashed for one block size, from the hashes of its blocks' contents.
    pub fn new(
        namespace: Namespace,
        tokens: u32,
        block_size: BlockSize,
        contents: impl IntoIterator<Item = BlockHash>,
    ) -> Self {
        let chain = Chain::new(namespace, block_size, contents);
        Self { namespace, tokens, prefix_key: 0, blocks: SmallVec::from_iter([(block_size, chain)]) }
    }

    /// The same as [`chain`](Self::chain), to keep.
    pub(crate) fn shared_chain(&self, block_size: BlockSize) -> Option<Chain> {
        let (_, chain) = self.blocks.iter().find(|(size, _)| *size == block_size)?;
        (chain.len() == self.chain(block_size).len()).then(|| chain.clone())
    }

    /// Its whole blocks for a block size. Never more than the tokens allow.
    pub fn chain(&self, block_size: BlockSize) -> &[PrefixHash] {
        let whole = self.tokens.checked_div(block_size.0).unwrap_or(0) as usize;
        self.blocks
            .iter()
            .find(|(size, _)| *size == block_size)
            .map_or(&[], |(_, blocks)| &blocks[..blocks.len().min(whole)])
    }
}

/// What is to be placed.
#[derive(Clone, Copy, Debug)]
pub struct PlacementRequest<'a> {
    /// Which leg of it. In the phase decode the prompt's KV comes from elsewhere: its blocks are active and pending, and
    /// nothing of it is to be computed.
    pub phase: Phase,
    /// Whether ranks without room for it are left out
    /// ([`StateConfig::room`](crate::state::StateConfig::room)).
    pub in_room: bool,
    /// The first prompt, if the policy asked for it.
    pub prompt: Option<&'a Prompt>,
    /// Tokens of the first prompt when `prompt` is absent; an estimate is enough.
    pub prompt_tokens_estimate: u32,
    /// Tokens of further prompts in the same request: booked, not matched.
    pub further_prompt_tokens: u32,
    /// Sequences that will run: `n` times the number of prompts; 0 counts as 1.
    pub sequences: u32,
    /// The most output tokens of one sequence, if limited: bounds what
    /// [`add_output_tokens`](crate::state::Booking::add_output_tokens) books.
    pub max_output_tokens: Option<u32>,
    /// Whether the answer is streamed. If not, no first output will be seen before the end, so the prefill counts as
    /// done when the target's events store the last whole prompt block or by the target's measured prefill rate.
    pub streamed: bool,
}

impl Default for PlacementRequest<'_> {
    fn default() -> Self {
        Self {
            phase: Phase::Aggregated,
            in_room: false,
            prompt: None,
            prompt_tokens_estimate: 0,
            further_prompt_tokens: 0,
            sequences: 1,
            max_output_tokens: None,
            streamed: true,
        }
    }
}

impl PlacementRequest<'_> {
    /// Tokens of the first prompt.
    pub fn prompt_tokens(&self) -> u32 {
        self.prompt.map_or(self.prompt_tokens_estimate, |prompt| prompt.tokens)
    }

    /// Its whole blocks for a block size; none when it was not tokenised.
    pub(crate) fn chain(&self, block_size: BlockSize) -> &[PrefixHash] {
        self.prompt.map_or(&[], |prompt| prompt.chain(block_size))
    }

    /// Whether its prompt is computed where it is booked.
    pub(crate) fn computes(&self) -> bool {
        self.phase != Phase::Decode
    }

    /// Requests that will run.
    pub(crate) fn running(&self) -> u32 {
        self.sequences.max(1)
    }

    /// What of it no other request can share, when `matched` whole blocks of the first prompt can be.
    pub(crate) fn private(&self, matched: usize, block_size: BlockSize) -> Private {
        let size = u64::from(block_size.0.max(1));
        let tokens = u64::from(self.prompt_tokens());
        Private {
            whole: (tokens / size).saturating_sub(matched as u64),
            tail_tokens: tokens % size,
            further_tokens: u64::from(self.further_prompt_tokens),
            sequences: u64::from(self.running()),
            output_max: self.max_output_tokens.map(u64::from),
            block_size: size,
        }
    }
}

/// The part of a request that it shares with no other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Private {
    /// Whole blocks of the first prompt that are not hashed.
    whole: u64,
    tail_tokens: u64,
    further_tokens: u64,
    sequences: u64,
    output_max: Option<u64>,
    block_size: u64,
}

impl Private {
    /// Its prompt tokens.
    pub(crate) fn tokens(&self) -> u64 {
        self.whole * self.block_size + self.tail_tokens + self.further_tokens
    }

    /// Its blocks after so many output tokens, spread evenly over the sequences: what starts in the prompt's tail is a
    /// block of its own in each.
    pub(crate) fn blocks(&self, output: u64) -> u64 {
        let each = output.div_ceil(self.sequences).min(self.output_max.unwrap_or(u64::MAX));
        self.whole
            + self.sequences * (self.tail_tokens + each).div_ceil(self.block_size)
            + self.further_tokens.div_ceil(self.block_size)
    }
}
