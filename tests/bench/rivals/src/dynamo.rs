//! NVIDIA Dynamo's concurrent compressed radix tree (`dynamo-kv-router`), with its queue and its thread.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dynamo_kv_router::indexer::concurrent_radix_tree_compressed::ConcurrentRadixTreeCompressed;
use dynamo_kv_router::indexer::{SyncIndexer, WorkerTask};
use dynamo_kv_router::protocols::{
    ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheRemoveData, KvCacheStoreData,
    KvCacheStoredBlockData, LocalBlockHash, OverlapScores, RouterEvent,
};
use rankwise_measure::contender::Contender;
use rankwise_measure::cpu::Thread;
use rankwise_measure::workload::{Event, Spec, Step};

/// Ranks of one worker.
const RANKS_PER_WORKER: u32 = 8;

pub(crate) struct Crtc {
    tree: Arc<ConcurrentRadixTreeCompressed>,
    queue: flume::Sender<WorkerTask>,
    thread: Thread,
    ranks: usize,
    prepared: Vec<RouterEvent>,
    prompt: Vec<LocalBlockHash>,
    found: OverlapScores,
}

impl Crtc {
    pub(crate) fn new(spec: &Spec) -> anyhow::Result<Self> {
        let tree = Arc::new(ConcurrentRadixTreeCompressed::new());
        let (queue, tasks) = flume::unbounded();
        let (told, thread) = std::sync::mpsc::channel();
        let worker = Arc::clone(&tree);
        std::thread::spawn(move || {
            // Nobody waits any more once the other side is gone.
            let _ = told.send(Thread::current());
            // Ends with its queue.
            let _ = worker.worker(tasks, None);
        });
        Ok(Self {
            tree,
            queue,
            thread: thread.recv().context("the worker's thread ended")?,
            ranks: spec.ranks as usize,
            prepared: Vec::new(),
            prompt: Vec::new(),
            found: OverlapScores::new(),
        })
    }

    /// Waits until all that was queued is done.
    fn drain(&self) {
        let (done, wait) = tokio::sync::oneshot::channel();
        // A worker that has ended shows in what is found.
        if self.queue.send(WorkerTask::Flush(done)).is_ok() {
            let _ = wait.blocking_recv();
        }
    }

    fn cpu(&self) -> Duration {
        self.thread.cpu_when_idle().unwrap_or_default()
    }
}

impl Contender for Crtc {
    fn name(&self) -> &'static str {
        "dynamo"
    }

    fn prepare(&mut self, steps: &[Step]) {
        self.prepared.extend(steps.iter().flat_map(|step| step.events.iter().map(router_event)));
    }

    fn apply(&mut self) -> Duration {
        let before = self.cpu();
        for event in std::mem::take(&mut self.prepared) {
            // As above.
            let _ = self.queue.send(WorkerTask::Event(event));
        }
        self.drain();
        self.cpu() - before
    }

    fn settle(&mut self) {
        let _ = self.tree.try_schedule_cleanup();
        let _ = self.queue.send(WorkerTask::CleanupStaleChildren);
        self.drain();
    }

    fn ask(&mut self, prompt: &[u64]) {
        self.prompt = prompt.iter().copied().map(LocalBlockHash).collect();
    }

    fn look_up(&mut self) {
        self.found = self.tree.find_matches(&self.prompt, false);
    }

    fn overlaps(&self) -> Vec<u32> {
        let mut overlaps = vec![0; self.ranks];
        for (rank, &overlap) in &self.found.scores {
            overlaps[(rank.worker_id * u64::from(RANKS_PER_WORKER)) as usize + rank.dp_rank as usize] =
                overlap;
        }
        overlaps
    }
}

fn router_event(event: &Event) -> RouterEvent {
    let rank = event.rank();
    let data = match event {
        Event::Stored { parent, blocks, .. } => KvCacheEventData::Stored(KvCacheStoreData {
            parent_hash: parent.map(ExternalSequenceBlockHash),
            start_position: None,
            blocks: blocks
                .iter()
                .map(|block| KvCacheStoredBlockData {
                    block_hash: ExternalSequenceBlockHash(block.engine),
                    tokens_hash: LocalBlockHash(block.content),
                    mm_extra_info: None,
                })
                .collect(),
        }),
        Event::Removed { engines, .. } => KvCacheEventData::Removed(KvCacheRemoveData {
            block_hashes: engines.iter().copied().map(ExternalSequenceBlockHash).collect(),
        }),
    };
    let event = KvCacheEvent { event_id: 0, data, dp_rank: rank % RANKS_PER_WORKER };
    RouterEvent::new(u64::from(rank / RANKS_PER_WORKER), event)
}
