//! One sequence: a prompt, the answer it will get, and how far it is.

use std::sync::Arc;

use super::chain::{ChainHash, chain};
use super::free_list::BlockId;
use super::time::Micros;

/// A sequence's number, unique in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// What is asked of an engine.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The prompt.
    pub tokens: Vec<u32>,
    /// What the engine will say, all of it; at least one token.
    pub answer: Arc<[u32]>,
    /// Keeps its blocks apart from those of other salts.
    pub salt: Option<Arc<str>>,
    /// Whether the prompt's KV comes from another engine: all but its last token is there when it begins.
    pub transferred: bool,
    /// Whether blocks that it finds in the cache are reported as stored again (vLLM's `kv_cache_report_mode: full`).
    pub report_hits: bool,
    /// Whether the answer ends by itself rather than at a limit; counted, nothing else.
    pub stops: bool,
}

/// How far a sequence is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Tokens of the answer that were said.
    pub said: u32,
    /// Prompt tokens that were not computed because the cache held them.
    pub cached_tokens: u32,
    /// Time from arrival to the first step that computed some of it.
    pub queued_us: u64,
    /// Time from arrival to the first token, once there is one.
    pub first_token_us: Option<u64>,
    /// Whether no more is said: the answer is complete, or was aborted.
    pub finished: bool,
}

#[derive(Debug)]
pub(super) struct Sequence {
    pub(super) id: SequenceId,
    /// The prompt and what was said so far.
    pub(super) tokens: Vec<u32>,
    pub(super) prompt_tokens: u32,
    pub(super) prompt: Prompt,
    /// Of the whole blocks of `tokens`.
    pub(super) chain: Vec<ChainHash>,
    pub(super) blocks: Vec<BlockId>,
    /// Leading blocks whose content is named in the pool.
    pub(super) stored: usize,
    pub(super) computed: u32,
    /// Tokens of the step that is running.
    pub(super) scheduled: u32,
    pub(super) arrived: Micros,
    /// Set when first scheduled; a preempted sequence keeps it.
    pub(super) cached_tokens: Option<u32>,
    /// The same.
    pub(super) queued_us: u64,
    pub(super) first_token_us: Option<u64>,
}

impl Sequence {
    pub(super) fn new(id: SequenceId, mut prompt: Prompt, block_size: u32, arrived: Micros) -> Self {
        let tokens = std::mem::take(&mut prompt.tokens);
        let mut sequence = Self {
            id,
            prompt_tokens: tokens.len() as u32,
            tokens,
            prompt,
            chain: Vec::new(),
            blocks: Vec::new(),
            stored: 0,
            computed: 0,
            scheduled: 0,
            arrived,
            cached_tokens: None,
            queued_us: 0,
            first_token_us: None,
        };
        sequence.extend_chain(block_size);
        sequence
    }

    /// Tokens not yet computed.
    pub(super) fn open(&self) -> u32 {
        self.tokens.len() as u32 - self.computed
    }

    pub(super) fn said(&self) -> u32 {
        self.tokens.len() as u32 - self.prompt_tokens
    }

    /// Says one more token.
    pub(super) fn say(&mut self, block_size: u32) {
        if let Some(&token) = self.prompt.answer.get(self.said() as usize) {
            self.tokens.push(token);
            self.extend_chain(block_size);
        }
    }

    pub(super) fn finished(&self) -> bool {
        self.said() as usize >= self.prompt.answer.len()
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            said: self.said(),
            cached_tokens: self.cached_tokens.unwrap_or(0),
            queued_us: self.queued_us,
            first_token_us: self.first_token_us,
            finished: self.finished(),
        }
    }

    fn extend_chain(&mut self, block_size: u32) {
        let size = block_size as usize;
        for block in self.tokens.chunks_exact(size).skip(self.chain.len()) {
            let hash = chain(self.chain.last().copied(), block, self.prompt.salt.as_deref());
            self.chain.push(hash);
        }
    }
}
