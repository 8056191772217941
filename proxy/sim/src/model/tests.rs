mod against_naive;
mod host;
mod lockstep;
mod recording;

use super::core::CoreSpec;
use super::group::{Group, StepOutcome};
use super::host::HostSpec;
use super::sequence::Prompt;
use super::time::Micros;

const CORE: CoreSpec = CoreSpec {
    blocks: 64,
    host: NO_HOST,
    block_size: 4,
    max_running: 8,
    max_waiting: 64,
    max_batched_tokens: 64,
};
const NO_HOST: HostSpec = HostSpec { blocks: 0, moves: false };

fn prompt(tokens: Vec<u32>, answer: u32) -> Prompt {
    Prompt {
        answer: (0..answer).map(|at| 5_000 + at).collect(),
        tokens,
        salt: None,
        transferred: false,
        report_hits: false,
        stops: false,
    }
}

/// Steps until nothing is left to do.
fn run(group: &mut Group) -> Vec<StepOutcome> {
    std::iter::from_fn(|| group.advance(Micros(u64::MAX))).collect()
}
