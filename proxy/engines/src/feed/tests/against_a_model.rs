//! The feed against a model of the engine and of a bad network: whatever happens, it ends with the engine's cache.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// One rank of an engine: its cache, and the last messages for replay.
struct Publisher {
    cache: BTreeSet<u64>,
    next: u64,
    kept: VecDeque<(u64, Bytes)>,
    keep_max: usize,
    steps: u64,
}

impl Publisher {
    fn step(&mut self, events: &[(u8, u64)]) -> (u64, Bytes) {
        let mut made = Vec::new();
        for (kind, number) in events {
            match kind {
                0..=5 => {
                    let new: Vec<u64> =
                        (0..3).map(|i| number * 3 + i).filter(|b| !self.cache.contains(b)).collect();
                    self.cache.extend(&new);
                    made.push(Made::Stored { parent: None, blocks: new });
                }
                6..=8 => {
                    if let Some(block) =
                        self.cache.iter().copied().nth(*number as usize % self.cache.len().max(1))
                    {
                        self.cache.remove(&block);
                        made.push(Made::Removed(block));
                    }
                }
                _ => {
                    self.cache.clear();
                    made.push(Made::Cleared);
                }
            }
        }
        self.steps += 1;
        let payload = payload(self.steps as f64, &made, 0);
        let sequence = self.next;
        self.next += 1;
        self.kept.push_back((sequence, payload.clone()));
        if self.kept.len() > self.keep_max {
            self.kept.pop_front();
        }
        (sequence, payload)
    }

    fn restart(&mut self) {
        self.cache.clear();
        self.kept.clear();
        self.next = 0;
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// A step; its message is delivered so many times.
    Step {
        events: Vec<(u8, u64)>,
        times: u8,
    },
    /// An older message is delivered again.
    Again(prop::sample::Index),
    Restart {
        steps: u8,
    },
    Reconnect,
    /// The proxy is restarted, with what it has kept.
    Reborn,
    /// So many messages of the open replay arrive.
    Replay(u8),
    ReplayFails,
    Time(u16),
    UnknownParent,
    CheckTail,
    /// Somebody thinks that the engine is gone.
    Emptied,
}

fn op() -> impl Strategy<Value = Op> {
    let events = proptest::collection::vec((0..10_u8, 0..12_u64), 1..4);
    prop_oneof![
        8 => (events, prop_oneof![6 => Just(1_u8), 2 => Just(0), 1 => Just(2)])
            .prop_map(|(events, times)| Op::Step { events, times }),
        1 => any::<prop::sample::Index>().prop_map(Op::Again),
        1 => (0..12_u8).prop_map(|steps| Op::Restart { steps }),
        1 => Just(Op::Reconnect),
        1 => Just(Op::Reborn),
        6 => (1..10_u8).prop_map(Op::Replay),
        1 => Just(Op::ReplayFails),
        2 => (0..8000_u16).prop_map(Op::Time),
        1 => Just(Op::UnknownParent),
        1 => Just(Op::CheckTail),
        1 => Just(Op::Emptied),
    ]
}

/// The rig, and the answer of the replay that is open.
struct World {
    rig: Rig,
    publisher: Publisher,
    answer: VecDeque<Vec<Bytes>>,
    answer_id: Option<u64>,
}

impl World {
    fn replay(&mut self, messages: usize) {
        if let Some((from, id)) = self.rig.requests.pop_front() {
            let kept = self.publisher.kept.iter().filter(|(sequence, _)| *sequence >= from);
            self.answer = kept.map(|(sequence, payload)| replayed(*sequence, payload)).collect();
            self.answer.push_back(end_marker());
            self.answer_id = Some(id);
        }
        for _ in 0..messages {
            let (Some(id), Some(frames)) = (self.answer_id, self.answer.pop_front()) else { return };
            self.rig.tell(|feed, now, out| feed.replay(id, &frames, now, out));
        }
    }

    fn run(&mut self, op: &Op) {
        match op {
            Op::Step { events, times } => {
                let (sequence, payload) = self.publisher.step(events);
                for _ in 0..*times {
                    self.rig.live(&message(sequence, &payload));
                }
            }
            Op::Again(which) => {
                if !self.publisher.kept.is_empty() {
                    let (sequence, payload) =
                        self.publisher.kept[which.index(self.publisher.kept.len())].clone();
                    self.rig.live(&message(sequence, &payload));
                }
            }
            Op::Restart { steps } => {
                self.rig.disconnect();
                self.rig.requests.clear();
                self.answer.clear();
                self.publisher.restart();
                for step in 0..*steps {
                    self.publisher.step(&[(0, step.into())]);
                }
                self.rig.connect();
            }
            Op::Reconnect => {
                self.rig.disconnect();
                self.rig.requests.clear();
                self.answer.clear();
                self.rig.connect();
            }
            Op::Reborn => {
                self.rig = self.rig.reborn();
                self.answer.clear();
                self.answer_id = None;
                self.rig.connect();
            }
            Op::Replay(messages) => self.replay((*messages).into()),
            Op::ReplayFails => {
                self.answer.clear();
                if let Some(id) = self.answer_id {
                    self.rig.tell(|feed, now, out| feed.replay_failed(id, now, out));
                }
            }
            Op::Time(ms) => self.rig.tick((*ms).into()),
            Op::UnknownParent => self.rig.tell(Feed::unknown_parent),
            Op::CheckTail => self.rig.tell(Feed::check_tail),
            Op::Emptied => self.rig.tell(Feed::emptied),
        }
    }

    /// The network is good from now on; returns whether the feed came to rest.
    fn settle(&mut self) -> bool {
        self.run(&Op::Step { events: vec![(0, 1)], times: 1 });
        for _ in 0..200 {
            self.replay(1000);
            if self.rig.feed.phase() == FeedPhase::Live {
                return true;
            }
            self.rig.tick(1000);
        }
        false
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn it_ends_with_the_engines_cache(
        ops in proptest::collection::vec(op(), 1..60),
        keep_max in 1..40_usize,
        remembered in 1..20_usize,
        buffered in 1..20_usize,
        replay in proptest::bool::weighted(0.9),
    ) {
        let config = FeedConfig {
            replay,
            remembered_messages: remembered,
            buffered_messages_max: buffered,
            replay_attempts_max: 3,
            ..config()
        };
        let publisher =
            Publisher { cache: BTreeSet::new(), next: 0, kept: VecDeque::new(), keep_max, steps: 0 };
        let mut world =
            World { rig: Rig::new(config, 1), publisher, answer: VecDeque::new(), answer_id: None };
        world.rig.connect();
        for op in &ops {
            world.run(op);
            prop_assert!(world.rig.feed.buffer.len() <= buffered);
        }
        prop_assert!(world.settle(), "did not come to rest");
        let (index, cache) = (&world.rig.index.blocks, &world.publisher.cache);
        if world.rig.feed.completeness() == Completeness::Complete {
            prop_assert_eq!(index, cache);
        } else {
            prop_assert!(index.is_subset(cache), "{:?} has more than {:?}", index, cache);
        }
        prop_assert_eq!(world.rig.feed.expected(), Some(world.publisher.next));
    }
}
