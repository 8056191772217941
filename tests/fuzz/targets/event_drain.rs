//! A drained worker: what its answers may be, in any order with failures, and what its state machine then has done to the parts of a
//! real index that its ranks have.
//!
//! The input is a list of `op, length (u16, big endian), payload`. What op says is below.

#![no_main]

use libfuzzer_sys::fuzz_target;
use rankwise_core::hash::HashKey;
use rankwise_core::ids::{BlockSize, DpRank, GroupId, Millis, TargetId, WorkerId};
use rankwise_core::state::{RoutingState, StateConfig};
use rankwise_core::target::{Phases, TargetSpec};
use rankwise_engines::events::Translation;
use rankwise_engines::feed::{Completeness, FeedAction};
use rankwise_engines::trtllm::drain::{Drain, DrainConfig};
use rankwise_engines::trtllm::events;

const BLOCK_SIZE: BlockSize = BlockSize(2);
const BLOCKS_MAX: usize = 4096;
const RANKS: u32 = 3;

struct Worker {
    drain: Drain,
    index: RoutingState,
    targets: Vec<TargetId>,
    now: Millis,
}

fuzz_target!(|input: &[u8]| {
    let (first, mut rest) = input.split_first().unwrap_or((&0, &[]));
    let index = RoutingState::new(
        StateConfig { index_blocks_max: BLOCKS_MAX, ..StateConfig::default() },
        BLOCK_SIZE,
    );
    let target = |rank| {
        let spec = TargetSpec {
            worker: WorkerId(0),
            rank: DpRank(rank),
            group: GroupId(0),
            key: rank,
            block_size: BLOCK_SIZE,
            capacity_blocks: 4,
            pinnable: true,
            phases: Phases::WHOLE,
        };
        index.add_target(spec).id
    };
    // One rank need not be named, several are.
    let targets: Vec<_> = (0..1 + u32::from(*first) % RANKS).map(target).collect();
    let translation =
        Translation { key: HashKey::new([1; 32]), model: String::new(), block_size: BLOCK_SIZE };
    let config = DrainConfig { capacities: vec![4; targets.len()], translation, held_max: 64 };
    let mut worker = Worker { drain: Drain::new(&config, Millis(0)), index, targets, now: Millis(0) };
    while let [op, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (payload, after) = after.split_at(length);
        worker.step(*op, payload);
        rest = after;
    }
});

impl Worker {
    fn step(&mut self, op: u8, payload: &[u8]) {
        self.now.0 += 1;
        let mut out = Vec::new();
        match op % 8 {
            0 => self.drain.failed(false, self.now, &mut out),
            1 => self.drain.failed(true, self.now, &mut out),
            2 => self.drain.unknown_parent(payload.len() % 4),
            _ => {
                match events::decode(payload) {
                    // In pieces, as a long one comes.
                    Ok(told) => {
                        let (first, rest) = told.split_at(told.len() / 2);
                        [first, rest].into_iter().for_each(|piece| self.drain.answered(piece, &mut out));
                    }
                    Err(_) => self.drain.unreadable(&mut out),
                }
            }
        }
        self.act(out);
        if op % 8 != 2 {
            assert_eq!(self.drain.missing_since().is_none(), op % 8 > 2);
        }
        for rank in self.drain.ranks() {
            assert!(rank.completeness() == Completeness::Unreplayed || rank.expected().is_some());
        }
        assert!(self.index.index_stats().blocks <= BLOCKS_MAX + 1);
    }

    fn act(&mut self, actions: Vec<(usize, FeedAction)>) {
        for (number, action) in actions {
            let target = self.targets[number];
            match action {
                FeedAction::Clear => self.index.clear_cache(target),
                FeedAction::Apply(event) => {
                    // Such as that of a block which moves, and whose parent is gone.
                    if self.index.apply(target, &event, self.now).unknown_parent {
                        self.drain.unknown_parent(number);
                    }
                }
                FeedAction::Restore | FeedAction::RequestReplay { .. } => {
                    unreachable!("what is drained is not replayed")
                }
            }
        }
    }
}
