//! A pool's state with full caches, and prompts to ask it about.

use std::time::Instant;

use rankwise_core::ids::{BlockSize, Millis, TargetId};
use rankwise_core::request::Prompt;
use rankwise_core::state::RoutingState;
use rankwise_measure::trace::TraceRequest;
use rankwise_measure::workload::{Spec, Step, Workload};
use rankwise_measure::{cache_event, fleet_of, prompt_of};

pub(super) struct Fleet {
    pub(super) spec: Spec,
    pub(super) state: RoutingState,
    pub(super) targets: Vec<TargetId>,
    /// Blocks of each prompt, by content.
    pub(super) contents: Vec<Vec<u64>>,
    /// The same as the proxy hands them over.
    pub(super) prompts: Vec<Prompt>,
}

impl Fleet {
    /// Serves the trace until the caches are full, and then `churn` requests more, whose prompts are kept.
    pub(super) fn filled(trace: &[TraceRequest], spec: Spec, churn: usize) -> Self {
        let (state, targets) = fleet_of(&spec);
        let block_size = BlockSize(spec.block_size);
        let mut workload = Workload::new(trace, spec);
        let serve = |step: &Step| {
            let Some(first) = step.events.first() else { return };
            let events: Vec<_> = step.events.iter().map(|event| cache_event(event, block_size)).collect();
            state.apply_batch(targets[first.rank() as usize], &events, Millis(0));
        };
        while !workload.is_full() {
            serve(&workload.step());
        }
        let steps = std::iter::repeat_with(|| workload.step()).take(churn);
        let contents: Vec<Vec<u64>> = steps.inspect(|step| serve(step)).map(|step| step.prompt).collect();
        let prompts = contents.iter().map(|prompt| prompt_of(prompt, block_size)).collect();
        Self { spec, state, targets, contents, prompts }
    }

    /// What it takes to make a prompt of its blocks' hashes: part of hashing the prompt, not of looking it up.
    pub(super) fn prompt_ns_per_block(&self) -> f64 {
        let start = Instant::now();
        for contents in &self.contents {
            std::hint::black_box(prompt_of(contents, BlockSize(self.spec.block_size)));
        }
        let blocks: usize = self.contents.iter().map(Vec::len).sum();
        start.elapsed().as_nanos() as f64 / blocks.max(1) as f64
    }
}
