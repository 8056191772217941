//! A writer at full speed beside a reader.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

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

/// Does `work`, which is told of that thread, while another thread writes; and tells how many blocks a second that wrote.
pub(super) fn meanwhile<R>(
    fleet: &Fleet,
    work: impl FnOnce(Thread) -> anyhow::Result<R>,
) -> anyhow::Result<(R, f64)> {
    let circle = circle(fleet);
    let (stop, blocks) = (AtomicBool::new(false), AtomicU64::new(0));
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let (circle, stop, blocks) = (&circle, &stop, &blocks);
        scope.spawn(move || {
            // Nobody waits any more once the other side is gone.
            let _ = tell.send(Thread::current());
            for (target, events) in circle.iter().cycle() {
                let applied = fleet.state.apply_batch(*target, events, Millis(0));
                blocks.fetch_add(u64::from(applied.stored + applied.removed), Relaxed);
                if stop.load(Relaxed) {
                    return;
                }
            }
        });
        let _stopped = Stop(stop);
        let writer = told.recv().context("the writer has ended")?;
        let (start, before) = (Instant::now(), blocks.load(Relaxed));
        let done = work(writer)?;
        let written = blocks.load(Relaxed) - before;
        Ok((done, written as f64 / start.elapsed().as_secs_f64()))
    })
}

/// Events after which everything is as before: prompts that readers ask for, stored under names of their own and removed
/// again, leaves first.
fn circle(fleet: &Fleet) -> Vec<(TargetId, Vec<CacheEvent>)> {
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

/// Ends the writer also when the work fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
