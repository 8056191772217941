//! A writer at full speed beside a reader.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

use anyhow::Context;
use rankwise_core::event::{CacheEvent, CacheGroup, Tier};
use rankwise_core::hash::EngineHash;
use rankwise_core::ids::{BlockSize, Millis, TargetId};
use rankwise_measure::cache_event;
use rankwise_measure::cpu::Thread;
use rankwise_measure::workload::{Block, Event};

use super::fleet::Fleet;

/// Prompts that the writer stores and removes again and again.
const PROMPTS: usize = 256;

/// Blocks in one storing event, and in one removal.
const STORED: usize = 128;
const REMOVED: usize = 8;

/// Removals that a feed hands over at once.
const BATCH: usize = 16;

/// A thread that writes whenever it is to.
pub(super) struct Writer<'a> {
    state: &'a State,
    handle: std::thread::Thread,
    thread: Thread,
}

#[derive(Default)]
struct State {
    is_wanted: AtomicBool,
    is_writing: AtomicBool,
    is_over: AtomicBool,
    blocks: AtomicU64,
}

impl Writer<'_> {
    pub(super) fn thread(&self) -> Thread {
        self.thread
    }

    /// Blocks that it has written so far.
    pub(super) fn blocks(&self) -> u64 {
        self.state.blocks.load(Relaxed)
    }

    /// Has it write from now on, or sleep.
    pub(super) fn write(&self, wanted: bool) {
        self.state.is_wanted.store(wanted, SeqCst);
        self.handle.unpark();
        while self.state.is_writing.load(SeqCst) != wanted {
            std::thread::yield_now();
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.state.is_over.store(true, SeqCst);
        self.handle.unpark();
    }
}

/// Does `work` while another thread writes.
pub(super) fn meanwhile<R>(
    fleet: &Fleet,
    work: impl FnOnce(&Writer<'_>) -> anyhow::Result<R>,
) -> anyhow::Result<R> {
    let circle = circle(fleet);
    let state = State::default();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let (circle, state) = (&circle, &state);
        let handle = scope.spawn(move || {
            // Nobody waits any more once the other side is gone.
            let _ = tell.send(Thread::current());
            for (target, events) in circle.iter().cycle() {
                while !state.is_wanted.load(SeqCst) && !state.is_over.load(SeqCst) {
                    state.is_writing.store(false, SeqCst);
                    std::thread::park();
                }
                if state.is_over.load(SeqCst) {
                    return;
                }
                state.is_writing.store(true, SeqCst);
                let applied = fleet.state.apply_batch(*target, events, Millis(0));
                state.blocks.fetch_add(u64::from(applied.stored + applied.removed), Relaxed);
            }
        });
        let thread = told.recv().context("the writer has ended")?;
        let writer = Writer { state, handle: handle.thread().clone(), thread };
        writer.write(true);
        work(&writer)
    })
}

/// Events after which everything is as before: prompts that readers ask for, stored under names of their own and removed
/// again, leaves first.
pub(super) fn circle(fleet: &Fleet) -> Vec<(TargetId, Vec<CacheEvent>)> {
    let block_size = BlockSize(fleet.spec.block_size);
    let mut batches = Vec::new();
    for (number, contents) in fleet.contents.iter().take(PROMPTS).enumerate() {
        let rank = number % fleet.targets.len();
        let target = fleet.targets[rank];
        let name = |position: usize| (1 << 62) | (number as u64) << 32 | position as u64;
        let mut parent = None;
        for (run, contents) in contents.chunks(STORED).enumerate() {
            let blocks: Vec<Block> = (run * STORED..)
                .zip(contents)
                .map(|(position, &content)| Block { content, engine: name(position) })
                .collect();
            let last = blocks.last().map(|block| block.engine);
            let stored = Event::Stored { rank: rank as u32, parent, blocks };
            batches.push((target, vec![cache_event(&stored, block_size)]));
            parent = last;
        }
        let names: Vec<EngineHash> =
            (0..contents.len()).rev().map(|position| EngineHash(name(position))).collect();
        let removals = names.chunks(REMOVED).map(|blocks| {
            let (tier, group) = (Tier::Device, CacheGroup(0));
            CacheEvent::Removed { blocks: blocks.to_vec(), tier, group }
        });
        let removals: Vec<CacheEvent> = removals.collect();
        batches.extend(removals.chunks(BATCH).map(|batch| (target, batch.to_vec())));
    }
    batches
}
