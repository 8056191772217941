//! SMG's `kv-index`, called directly.

use std::time::Duration;

use kv_index::{ChainBlockMap, ContentHash, SequenceHash, StoredBlock};
use rankwise_measure::contender::Contender;
use rankwise_measure::cpu::thread_cpu;
use rankwise_measure::workload::{Event, Spec, Step};

pub(crate) struct ChainIndex {
    index: kv_index::ChainIndex,
    /// By rank: its id in the index, and what it keeps beside it.
    ranks: Vec<(u32, ChainBlockMap)>,
    prepared: Vec<Prepared>,
    prompt: Vec<ContentHash>,
    /// By id.
    found: Vec<u32>,
}

enum Prepared {
    Stored { rank: usize, parent: Option<SequenceHash>, blocks: Vec<StoredBlock> },
    Removed { rank: usize, blocks: Vec<SequenceHash> },
}

impl ChainIndex {
    pub(crate) fn new(spec: &Spec) -> anyhow::Result<Self> {
        let index = kv_index::ChainIndex::with_max_workers(spec.ranks as usize);
        let ranks = (0..spec.ranks).map(|rank| {
            let id = index.intern_worker(&rank.to_string());
            id.map(|id| (id, ChainBlockMap::new())).map_err(|error| anyhow::anyhow!("rank {rank}: {error:?}"))
        });
        let ranks = ranks.collect::<anyhow::Result<Vec<_>>>()?;
        let ids = ranks.iter().map(|&(id, _)| id as usize + 1).max().unwrap_or(0);
        Ok(Self { index, ranks, prepared: Vec::new(), prompt: Vec::new(), found: vec![0; ids] })
    }
}

impl Contender for ChainIndex {
    fn name(&self) -> &'static str {
        "kv-index"
    }

    fn prepare(&mut self, steps: &[Step]) {
        self.prepared.extend(steps.iter().flat_map(|step| step.events.iter().map(prepared)));
    }

    fn apply(&mut self) -> Duration {
        let before = thread_cpu();
        for event in std::mem::take(&mut self.prepared) {
            match event {
                Prepared::Stored { rank, parent, blocks } => {
                    let (id, map) = &mut self.ranks[rank];
                    // A store that failed shows in what is found.
                    let _ = self.index.apply_stored(*id, &blocks, parent, map);
                }
                Prepared::Removed { rank, blocks } => {
                    let (id, map) = &mut self.ranks[rank];
                    self.index.apply_removed(*id, &blocks, map);
                }
            }
        }
        thread_cpu() - before
    }

    fn ask(&mut self, prompt: &[u64]) {
        self.prompt = prompt.iter().copied().map(ContentHash).collect();
    }

    fn look_up(&mut self) {
        let found = &mut self.found;
        found.fill(0);
        self.index.score_into(
            &self.prompt,
            |content| content.0,
            false,
            |id, overlap| found[id as usize] = overlap,
        );
    }

    fn overlaps(&self) -> Vec<u32> {
        self.ranks.iter().map(|&(id, _)| self.found[id as usize]).collect()
    }
}

fn prepared(event: &Event) -> Prepared {
    let rank = event.rank() as usize;
    match event {
        Event::Stored { parent, blocks, .. } => Prepared::Stored {
            rank,
            parent: parent.map(SequenceHash),
            blocks: blocks
                .iter()
                .map(|block| StoredBlock {
                    seq_hash: SequenceHash(block.engine),
                    content_hash: ContentHash(block.content),
                })
                .collect(),
        },
        Event::Removed { engines, .. } => {
            Prepared::Removed { rank, blocks: engines.iter().copied().map(SequenceHash).collect() }
        }
    }
}
