//! A rank's whole feed: what sockets, clock and index may tell its state machine, in any order, and what it then has done to a
//! real index.
//!
//! The input is a list of `op, sequence, length (u16, big endian), payload`. What op says is below.

#![no_main]

use std::sync::Arc;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rankwise_core::hash::HashKey;
use rankwise_core::ids::{BlockSize, DpRank, GroupId, Millis, TargetId, WorkerId};
use rankwise_core::state::{RoutingState, StateConfig};
use rankwise_core::target::{Phases, TargetSpec};
use rankwise_engines::events::Translation;
use rankwise_engines::feed::{Feed, FeedAction, FeedConfig, FeedPhase};

const BLOCK_SIZE: BlockSize = BlockSize(32);
const BLOCKS_MAX: usize = 4096;

struct Rank {
    feed: Feed,
    index: Arc<RoutingState>,
    target: TargetId,
    now: Millis,
    replay: u64,
}

fuzz_target!(|input: &[u8]| {
    let index = Arc::new(RoutingState::new(
        StateConfig { index_blocks_max: BLOCKS_MAX, ..StateConfig::default() },
        BLOCK_SIZE,
    ));
    let target = index.add_target(TargetSpec {
        worker: WorkerId(0),
        rank: DpRank(0),
        group: GroupId(0),
        key: 0,
        block_size: BLOCK_SIZE,
        capacity_blocks: 64,
        pinnable: true,
        phases: Phases::WHOLE,
    });
    let (first, mut rest) = input.split_first().unwrap_or((&0, &[]));
    let mut config = FeedConfig::new(0, "", first & 1 == 0);
    config.buffered_messages_max = 8;
    config.remembered_messages = 4;
    config.limits.payload_bytes_max = 1 << 16;
    let translation =
        Translation { key: HashKey::new([1; 32]), model: String::new(), block_size: BLOCK_SIZE };
    let feed = Feed::new(config, translation, Millis(0));
    let mut rank = Rank { feed, index, target: target.id, now: Millis(0), replay: 0 };
    while let [op, sequence, high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (payload, after) = after.split_at(length);
        rank.step(*op, *sequence, payload);
        rest = after;
    }
});

impl Rank {
    fn step(&mut self, op: u8, sequence: u8, payload: &[u8]) {
        let number = match sequence {
            255 => u64::MAX,
            number => number.into(),
        };
        let frames = [
            Bytes::new(),
            Bytes::copy_from_slice(b"kv-events"),
            Bytes::copy_from_slice(&number.to_be_bytes()),
            Bytes::copy_from_slice(payload),
        ];
        let (now, replay) = (self.now, self.replay);
        let mut out = Vec::new();
        match op % 11 {
            0 => self.feed.connected(now, &mut out),
            1 => self.feed.disconnected(now),
            2 | 3 => self.feed.live(&frames[1..], now, &mut out),
            4 | 5 => self.feed.replay(replay, &frames, now, &mut out),
            6 => self.feed.replay_failed(replay, now, &mut out),
            7 => {
                self.now.0 += u64::from(sequence) << 8;
                self.feed.tick(self.now, &mut out);
            }
            8 => self.feed.check_tail(now, &mut out),
            10 => self.feed.emptied(now, &mut out),
            _ => self.feed.live(&frames[usize::from(sequence) % 5..], now, &mut out),
        }
        self.act(out);
        let live = self.feed.phase() == FeedPhase::Live;
        assert!(!live || self.feed.missing_since().is_none());
        assert_eq!(self.feed.deadline().is_some(), self.feed.phase() == FeedPhase::Replaying);
        assert!(self.index.index_stats().blocks <= BLOCKS_MAX + 1);
    }

    fn act(&mut self, mut actions: Vec<FeedAction>) {
        // An unknown parent asks for one resync at most at one time.
        for _ in 0..3 {
            let mut unknown_parent = false;
            for action in actions.drain(..) {
                match action {
                    FeedAction::Clear => self.index.clear_cache(self.target),
                    FeedAction::Apply(event) => {
                        unknown_parent |= self.index.apply(self.target, &event, self.now).unknown_parent;
                    }
                    FeedAction::Restore => unreachable!("nothing was kept"),
                    FeedAction::RequestReplay { id, .. } => self.replay = id,
                }
            }
            if unknown_parent {
                self.feed.unknown_parent(self.now, &mut actions);
            }
        }
        assert!(actions.is_empty(), "the feed never comes to rest");
    }
}
