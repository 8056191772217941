//! One rank's engine core: a waiting queue, a running batch, a block pool.
//!
//! Scheduling is vLLM's (`v1/core/sched/scheduler.py`): running sequences first, then waiting ones first come, first
//! served; a prompt is computed in chunks of what the step's token budget leaves; a running sequence that gets no block takes
//! those of the youngest one, which waits again.

use std::collections::VecDeque;

use super::host::HostSpec;
use super::pool::{BlockPool, CacheChange, CachedBlock, Hit, StoredRun};
use super::sequence::{Progress, Prompt, Sequence, SequenceId};
use super::time::{Micros, StepLoad};

/// Bounds of one rank.
#[derive(Clone, Copy, Debug)]
pub struct CoreSpec {
    /// Usable KV blocks.
    pub blocks: u32,
    /// Those behind them.
    pub host: HostSpec,
    /// Tokens per block.
    pub block_size: u32,
    /// Sequences that run at the same time.
    pub max_running: usize,
    /// Sequences that wait.
    pub max_waiting: usize,
    /// Tokens computed per step.
    pub max_batched_tokens: u32,
}

/// Counters of one rank since the fleet started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RankStats {
    /// Sequences that arrived.
    pub requests: u64,
    /// Sequences that ended with their whole answer.
    pub finished: u64,
    /// Those of them that ended by themselves rather than at a limit.
    pub stopped: u64,
    /// Sequences that were aborted.
    pub aborted: u64,
    /// Prompt tokens of sequences that were scheduled.
    pub prompt_tokens: u64,
    /// Those of them that the cache held.
    pub cached_tokens: u64,
    /// Tokens computed by prefill; preempted sequences count again.
    pub prefill_computed_tokens: u64,
    /// Tokens of answers.
    pub output_tokens: u64,
    /// Sequences that lost their blocks to another.
    pub preemptions: u64,
    /// Steps in which this rank did work.
    pub busy_steps: u64,
    /// Sum of the times to first token, simulated microseconds.
    pub first_token_us_sum: u64,
    /// Sequences in that sum.
    pub first_tokens: u64,
    /// Sequences running now.
    pub running: usize,
    /// Sequences waiting now.
    pub waiting: usize,
    /// Blocks in use now.
    pub used_blocks: u32,
}

/// Why a sequence was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The waiting queue is full.
    #[error("waiting queue full")]
    Full,
    /// Prompt and answer can never fit.
    #[error("sequence larger than the cache")]
    TooLarge,
    /// No prompt, or no answer to give.
    #[error("empty sequence")]
    Empty,
}

/// One rank.
#[derive(Debug)]
pub struct EngineCore {
    spec: CoreSpec,
    pool: BlockPool,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    stats: RankStats,
}

impl EngineCore {
    /// An empty rank.
    pub fn new(spec: CoreSpec) -> Self {
        Self {
            spec,
            pool: BlockPool::new(spec.blocks, spec.host),
            waiting: VecDeque::new(),
            running: Vec::new(),
            stats: RankStats::default(),
        }
    }

    /// Takes a sequence into the waiting queue.
    pub fn submit(&mut self, id: SequenceId, prompt: Prompt, now: Micros) -> Result<(), Refusal> {
        let tokens = prompt.tokens.len() + prompt.answer.len();
        if prompt.tokens.is_empty() || prompt.answer.is_empty() {
            return Err(Refusal::Empty);
        }
        if tokens as u64 > u64::from(self.spec.blocks) * u64::from(self.spec.block_size) {
            return Err(Refusal::TooLarge);
        }
        if self.waiting.len() >= self.spec.max_waiting {
            return Err(Refusal::Full);
        }
        self.stats.requests += 1;
        self.waiting.push_back(Sequence::new(id, prompt, self.spec.block_size, now));
        Ok(())
    }

    /// Drops a sequence and frees its blocks. False if it is not here.
    pub fn abort(&mut self, id: SequenceId) -> bool {
        let gone = if let Some(at) = self.running.iter().position(|sequence| sequence.id == id) {
            self.running.remove(at)
        } else if let Some(at) = self.waiting.iter().position(|sequence| sequence.id == id) {
            let Some(sequence) = self.waiting.remove(at) else { return false };
            sequence
        } else {
            return false;
        };
        self.pool.release(&gone.blocks);
        self.stats.aborted += 1;
        true
    }

    /// Whether anything runs or waits.
    pub fn busy(&self) -> bool {
        !self.running.is_empty() || !self.waiting.is_empty()
    }

    /// Whether the first waiting sequence could not be given the blocks of its first chunk now.
    pub fn misfit(&self) -> bool {
        self.running.len() < self.spec.max_running
            && self.waiting.front().is_some_and(|sequence| {
                self.admission(sequence, self.spec.max_batched_tokens)
                    .is_none_or(|admission| admission.needed > self.pool.free())
            })
    }

    /// Chooses what the step that begins at `now` computes, and gives out the blocks for it.
    pub fn schedule(&mut self, admit: bool, now: Micros) -> StepLoad {
        let mut budget = self.spec.max_batched_tokens;
        let mut load = StepLoad::default();
        let preempted = self.schedule_running(&mut budget, &mut load);
        if admit && !preempted {
            self.schedule_waiting(&mut budget, &mut load, now);
        }
        if load != StepLoad::default() {
            self.stats.busy_steps += 1;
        }
        self.stats.prefill_computed_tokens += u64::from(load.prefill_tokens);
        load
    }

    /// The step is over: sequences that are computed to their end say a token, complete ones leave.
    pub fn finish_step(&mut self, now: Micros, progress: &mut Vec<(SequenceId, Progress)>) {
        let block_size = self.spec.block_size;
        let mut at = 0;
        while at < self.running.len() {
            let sequence = &mut self.running[at];
            let scheduled = std::mem::take(&mut sequence.scheduled);
            if scheduled == 0 || sequence.open() > 0 {
                at += 1;
                continue;
            }
            sequence.say(block_size);
            self.stats.output_tokens += 1;
            if sequence.first_token_us.is_none() {
                let waited = now.since(sequence.arrived);
                sequence.first_token_us = Some(waited);
                self.stats.first_token_us_sum += waited;
                self.stats.first_tokens += 1;
            }
            progress.push((sequence.id, sequence.progress()));
            if sequence.finished() {
                let sequence = self.running.remove(at);
                self.pool.release(&sequence.blocks);
                self.stats.finished += 1;
                self.stats.stopped += u64::from(sequence.prompt.stops);
            } else {
                at += 1;
            }
        }
    }

    /// What changed in the cache since the last call.
    pub fn take_changes(&mut self) -> Vec<CacheChange> {
        self.pool.take_changes()
    }

    /// Empties the cache if no block is in use.
    pub fn clear_cache(&mut self) -> bool {
        self.pool.clear()
    }

    /// All cached contents.
    pub fn cache(&self) -> Vec<CachedBlock> {
        self.pool.cache()
    }

    /// Its blocks.
    pub fn pool(&self) -> &BlockPool {
        &self.pool
    }

    /// Counters and current load.
    pub fn stats(&self) -> RankStats {
        RankStats {
            running: self.running.len(),
            waiting: self.waiting.len(),
            used_blocks: self.pool.capacity() - self.pool.free(),
            ..self.stats
        }
    }

    /// The sequences that run or wait here.
    pub fn sequences(&self) -> Vec<SequenceId> {
        self.running.iter().chain(&self.waiting).map(|sequence| sequence.id).collect()
    }

    /// Everything is lost, as when the process ends. Returns the sequences that were here.
    pub fn restart(&mut self) -> Vec<SequenceId> {
        let lost = self.sequences();
        let stats = self.stats;
        *self = Self::new(self.spec);
        self.stats = stats;
        lost
    }

    fn schedule_running(&mut self, budget: &mut u32, load: &mut StepLoad) -> bool {
        let mut preempted = false;
        let mut at = 0;
        while at < self.running.len() && *budget > 0 {
            let tokens = self.running[at].open().min(*budget);
            let needed = self.missing_blocks(&self.running[at], tokens);
            while needed > self.pool.free() && at < self.running.len() {
                preempted = true;
                self.preempt_youngest();
            }
            if at >= self.running.len() {
                break;
            }
            let sequence = &mut self.running[at];
            if sequence.open() > 1 {
                load.prefill_tokens += tokens;
            } else {
                load.decode_sequences += 1;
            }
            compute(&mut self.pool, sequence, tokens, needed, self.spec.block_size);
            *budget -= tokens;
            at += 1;
        }
        preempted
    }

    fn schedule_waiting(&mut self, budget: &mut u32, load: &mut StepLoad, now: Micros) {
        while *budget > 0 && self.running.len() < self.spec.max_running {
            let Some(sequence) = self.waiting.front() else { return };
            let Some(Admission { hits, tokens, needed }) = self.admission(sequence, *budget) else { return };
            if needed > self.pool.free() {
                return;
            }
            let Some(mut sequence) = self.waiting.pop_front() else { return };
            let hit_tokens = hits.len() as u32 * self.spec.block_size;
            let on_device = hits.iter().take_while(|hit| matches!(hit, Hit::Device(_))).count();
            sequence.blocks = self.pool.use_hits(&hits);
            sequence.stored = hits.len();
            sequence.computed = hit_tokens;
            if sequence.cached_tokens.is_none() {
                let fetched = sequence.prompt.transferred.then(|| sequence.prompt_tokens.saturating_sub(1));
                sequence.cached_tokens = Some(fetched.unwrap_or(hit_tokens));
                sequence.queued_us = now.since(sequence.arrived);
                self.stats.prompt_tokens += u64::from(sequence.prompt_tokens);
                self.stats.cached_tokens += u64::from(hit_tokens);
            }
            if sequence.prompt.report_hits {
                self.pool.report(&StoredRun {
                    parent: None,
                    blocks: &sequence.blocks[..on_device],
                    hashes: &sequence.chain[..on_device],
                    tokens: &sequence.tokens[..on_device * self.spec.block_size as usize],
                    salt: sequence.prompt.salt.as_ref(),
                });
            }
            let missing = self.missing_blocks(&sequence, tokens);
            compute(&mut self.pool, &mut sequence, tokens, missing, self.spec.block_size);
            if sequence.prompt.transferred {
                load.decode_sequences += 1;
                *budget -= 1;
            } else {
                load.prefill_tokens += tokens;
                *budget -= tokens;
            }
            self.running.push(sequence);
        }
    }

    /// What admitting a waiting sequence takes. The last token is always computed, so a prompt that is cached to its end
    /// still has one block to compute.
    fn admission(&self, sequence: &Sequence, budget: u32) -> Option<Admission> {
        let size = self.spec.block_size;
        let reusable = (sequence.tokens.len() as u32).checked_sub(1)? / size;
        let hits = self.pool.hits(&sequence.chain[..reusable as usize]);
        let hit_tokens = hits.len() as u32 * size;
        let open = sequence.tokens.len() as u32 - hit_tokens;
        let tokens = if sequence.prompt.transferred { open } else { open.min(budget) };
        let blocks = (hit_tokens + tokens).div_ceil(size) - hits.len() as u32;
        let needed = blocks + self.pool.taken_by(&hits);
        Some(Admission { hits, tokens, needed })
    }

    fn missing_blocks(&self, sequence: &Sequence, tokens: u32) -> u32 {
        (sequence.computed + tokens)
            .div_ceil(self.spec.block_size)
            .saturating_sub(sequence.blocks.len() as u32)
    }

    fn preempt_youngest(&mut self) {
        let Some(mut sequence) = self.running.pop() else { return };
        self.pool.release(&sequence.blocks);
        sequence.blocks.clear();
        // What was fetched is lost with its blocks.
        sequence.prompt.transferred = false;
        sequence.stored = 0;
        sequence.computed = 0;
        sequence.scheduled = 0;
        self.stats.preemptions += 1;
        self.waiting.push_front(sequence);
    }
}

struct Admission {
    hits: Vec<Hit>,
    tokens: u32,
    /// Free blocks that it takes, for cached ones that nobody uses too.
    needed: u32,
}

/// Gives a sequence `missing` blocks, counts `tokens` more as computed, and names the blocks that are full with that.
fn compute(pool: &mut BlockPool, sequence: &mut Sequence, tokens: u32, missing: u32, block_size: u32) {
    for _ in 0..missing {
        sequence.blocks.extend(pool.take());
    }
    sequence.scheduled = tokens;
    sequence.computed += tokens;
    let full = (sequence.computed / block_size) as usize;
    let size = block_size as usize;
    if full > sequence.stored {
        let from = sequence.stored;
        pool.store(&StoredRun {
            parent: from.checked_sub(1).map(|before| sequence.chain[before]),
            blocks: &sequence.blocks[from..full],
            hashes: &sequence.chain[from..full],
            tokens: &sequence.tokens[from * size..full * size],
            salt: sequence.prompt.salt.as_ref(),
        });
        sequence.stored = full;
    }
}
