use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use rankwise_core::event::{CacheEvent, Parent, Tier};

use super::super::events::decode;
use super::*;
use crate::events::SkipReason;
use crate::testing::{Naive, translation};

/// A drain of two ranks with what stands behind it. Blocks hold one token, their own name.
struct Rig {
    drain: Drain,
    index: [Naive; 2],
}

impl Rig {
    fn new() -> Self {
        let config = DrainConfig { capacities: vec![8, 0], translation: translation(1), held_max: 64 };
        Self { drain: Drain::new(&config, Millis(0)), index: Default::default() }
    }

    fn tell(&mut self, what: impl FnOnce(&mut Drain, &mut Vec<(usize, FeedAction)>)) {
        let mut out = Vec::new();
        what(&mut self.drain, &mut out);
        for (rank, action) in &out {
            self.index[*rank].act(action);
        }
        assert_eq!(self.index[0].unknown_parents + self.index[1].unknown_parents, 0);
    }

    fn answer(&mut self, events: &[String]) {
        let body = format!("[{}]", events.join(","));
        self.tell(|drain, out| drain.answered(&decode(body.as_bytes()).expect(&body), out));
    }

    fn standing(&self, rank: usize) -> (Vec<u64>, Completeness, Option<u64>) {
        let drained = &self.drain.ranks()[rank];
        (self.index[rank].blocks.iter().copied().collect(), drained.completeness(), drained.expected())
    }
}

fn event(rank: u32, id: u64, data: &str) -> String {
    format!(r#"{{"event_id":{id},"data":{data},"window_size":4096,"attention_dp_rank":{rank}}}"#)
}

fn created() -> String {
    r#"{"type":"created","num_blocks_per_cache_level":[8,0]}"#.to_owned()
}

fn block(name: u64) -> String {
    format!(r#"{{"block_hash":{name},"tokens":[{{"token_id":{name}}}]}}"#)
}

fn stored(parent: Option<u64>, blocks: &[String]) -> String {
    let parent = parent.map_or_else(|| "null".to_owned(), |parent| parent.to_string());
    format!(r#"{{"type":"stored","parent_hash":{parent},"blocks":[{}]}}"#, blocks.join(","))
}

fn removed(names: &[u64]) -> String {
    format!(r#"{{"type":"removed","block_hashes":{names:?}}}"#)
}

#[test]
fn each_rank_counts_for_itself() {
    let mut rig = Rig::new();
    assert_eq!(rig.drain.missing_since(), Some(Millis(0)));
    rig.answer(&[
        event(0, 0, &created()),
        event(1, 0, &created()),
        event(1, 1, &stored(None, &[block(1), block(2)])),
        event(0, 1, &stored(None, &[block(5)])),
        event(1, 2, &removed(&[2])),
    ]);
    assert_eq!(rig.drain.missing_since(), None);
    assert_eq!(rig.standing(0), (vec![5], Completeness::Complete, Some(2)));
    assert_eq!(rig.standing(1), (vec![1], Completeness::Complete, Some(3)));
    rig.answer(&[]);
    assert_eq!(rig.standing(1), (vec![1], Completeness::Complete, Some(3)));
}

#[test]
fn a_gap_empties_its_rank_until_as_much_was_stored_as_it_holds() {
    let mut rig = Rig::new();
    rig.answer(&[event(0, 0, &created()), event(1, 0, &created())]);
    rig.answer(&[event(0, 1, &stored(None, &[block(1)])), event(1, 1, &stored(None, &[block(1)]))]);
    rig.answer(&[event(0, 7, &stored(Some(1), &[block(2)])), event(0, 8, &stored(None, &[block(3)]))]);
    // What continues a block that may be gone is not believed.
    assert_eq!(rig.standing(0), (vec![3], Completeness::Unreplayed, Some(9)));
    assert_eq!(rig.standing(1), (vec![1], Completeness::Complete, Some(2)));
    let counters = rig.drain.ranks()[0].counters();
    assert_eq!((counters.gaps, counters.lost, counters.unknown_parents), (1, 1, 1));
    // The orphan was the first of eight, and block 3 the second.
    rig.answer(&[event(0, 9, &stored(None, &(10..15).map(block).collect::<Vec<_>>()))]);
    assert_eq!(rig.standing(0).1, Completeness::Unreplayed);
    rig.answer(&[event(0, 10, &stored(Some(14), &[block(15)]))]);
    assert_eq!(rig.standing(0), (vec![3, 10, 11, 12, 13, 14, 15], Completeness::Partial, Some(11)));
    rig.answer(&[event(0, 11, r#"{"type":"all_cleared"}"#)]);
    assert_eq!(rig.standing(0), (vec![], Completeness::Complete, Some(12)));
}

#[test]
fn a_restart_shows_by_its_numbers() {
    let mut rig = Rig::new();
    rig.answer(&[event(0, 0, &created()), event(0, 1, &stored(None, &[block(1)]))]);
    rig.answer(&[event(0, 0, &created()), event(0, 1, &stored(None, &[block(2)]))]);
    assert_eq!(rig.standing(0), (vec![2], Completeness::Complete, Some(2)));
    assert_eq!(rig.drain.ranks()[0].counters().restarts, 1);
    // One whose beginning somebody else has taken.
    rig.answer(&[event(0, 1, &stored(None, &[block(3)]))]);
    assert_eq!(rig.standing(0), (vec![3], Completeness::Unreplayed, Some(2)));
}

#[test]
fn who_starts_late_is_not_trusted() {
    let mut rig = Rig::new();
    rig.answer(&[event(0, 40, &stored(None, &[block(1)]))]);
    assert_eq!(rig.standing(0), (vec![1], Completeness::Unreplayed, Some(41)));
    assert_eq!(rig.drain.ranks()[0].counters().gaps, 0);
}

#[test]
fn a_worker_that_is_gone_is_forgotten_and_one_that_is_slow_is_not() {
    let mut rig = Rig::new();
    rig.answer(&[event(0, 0, &created()), event(0, 1, &stored(None, &[block(1)]))]);
    rig.tell(|drain, out| drain.failed(false, Millis(5), out));
    rig.tell(|drain, out| drain.failed(false, Millis(6), out));
    assert_eq!(rig.drain.missing_since(), Some(Millis(5)));
    assert_eq!(rig.standing(0), (vec![1], Completeness::Complete, Some(2)));
    rig.tell(|drain, out| drain.failed(true, Millis(7), out));
    assert_eq!(rig.standing(0), (vec![], Completeness::Unreplayed, None));
}

#[test]
fn partial_blocks_and_what_is_no_text_are_passed_over_with_all_behind_them() {
    let mut rig = Rig::new();
    let partial = r#"{"block_hash":2,"tokens":[]}"#.to_owned();
    let image = r#"{"block_hash":3,"tokens":[{"token_id":3}],"mm_keys":[{"type":"mm_key","hash":"ab","start_offset":0}]}"#;
    rig.answer(&[
        event(0, 0, &stored(None, &[block(1), partial])),
        event(0, 1, &stored(Some(1), &[image.to_owned(), block(4)])),
        event(0, 2, &stored(Some(4), &[block(5)])),
        event(0, 3, &stored(Some(1), &[block(6)])),
        event(0, 4, &removed(&[2, 3, 99])),
    ]);
    assert_eq!(rig.standing(0), (vec![1, 6], Completeness::Complete, Some(5)));
    assert_eq!(rig.drain.ranks()[0].counters().unknown_parents, 0);
}

#[test]
fn only_the_largest_window_is_indexed() {
    let mut rig = Rig::new();
    let small = |id, data: &str| event(0, id, data).replace("4096", "1024");
    rig.answer(&[
        small(0, &created()),
        small(1, &stored(None, &[block(1)])),
        event(0, 2, &created()),
        event(0, 3, &stored(None, &[block(1), block(2)])),
        small(4, &removed(&[1])),
        small(5, &created()),
    ]);
    assert_eq!(rig.standing(0), (vec![1, 2], Completeness::Complete, Some(6)));
}

#[test]
fn blocks_that_move_are_named_in_their_new_tier_first() {
    let mut rig = Rig::new();
    rig.answer(&[event(0, 0, &stored(None, &[block(1), block(2)]))]);
    let mut out = Vec::new();
    let updated = r#"{"type":"updated","block_hash":2,"cache_level":{"type":"event_diff","new_value":1,"old_value":0}}"#;
    let body = format!("[{},{}]", event(0, 1, updated), event(0, 2, &removed(&[2])));
    rig.drain.answered(&decode(body.as_bytes()).unwrap(), &mut out);
    let said: Vec<_> = out
        .iter()
        .map(|(_, action)| match action {
            FeedAction::Apply(CacheEvent::Stored { parent: Parent::Block(parent), blocks, tier, .. }) => {
                ("stored", parent.0, blocks[0].engine.0, *tier)
            }
            FeedAction::Apply(CacheEvent::Removed { blocks, tier, .. }) => ("removed", 0, blocks[0].0, *tier),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        said,
        [("stored", 1, 2, Tier::Host), ("removed", 0, 2, Tier::Device), ("removed", 0, 2, Tier::Host)]
    );
}

#[test]
fn salted_blocks_have_a_root_of_their_own() {
    let mut rig = Rig::new();
    let mut out = Vec::new();
    let salted = r#"{"block_hash":7,"tokens":[{"token_id":1}],"cache_salt":"t1"}"#.to_owned();
    let body =
        format!("[{},{}]", event(0, 0, &stored(None, &[block(1)])), event(0, 1, &stored(None, &[salted])));
    rig.drain.answered(&decode(body.as_bytes()).unwrap(), &mut out);
    let roots: BTreeSet<_> = out
        .iter()
        .filter_map(|(_, action)| match action {
            FeedAction::Apply(CacheEvent::Stored { parent: Parent::Root(root), .. }) => Some(*root),
            _ => None,
        })
        .collect();
    assert_eq!(roots.len(), 2);
}

#[test]
fn events_of_no_rank_are_counted_and_believed_of_none() {
    let mut rig = Rig::new();
    let unnamed = r#"{"event_id":0,"data":{"type":"stored","parent_hash":null,"blocks":[]}}"#.to_owned();
    rig.answer(&[event(2, 0, &stored(None, &[block(1)])), unnamed.clone()]);
    assert_eq!(rig.drain.strays(), Strays { beyond: 1, unnamed: 1 });
    assert!(rig.drain.ranks().iter().all(|rank| rank.completeness() == Completeness::Unreplayed));
    // The only rank need not be named.
    let config = DrainConfig { capacities: vec![0], translation: translation(1), held_max: 64 };
    let mut only = Drain::new(&config, Millis(0));
    only.answered(&decode(format!("[{unnamed}]").as_bytes()).unwrap(), &mut Vec::new());
    assert_eq!((only.strays(), only.ranks()[0].expected()), (Strays::default(), Some(1)));
}

#[test]
fn what_cannot_be_read_and_what_is_too_much_is_a_loss() {
    let mut rig = Rig::new();
    rig.answer(&[event(0, 0, &stored(None, &[block(1)]))]);
    rig.tell(|drain, out| drain.unreadable(out));
    assert_eq!(rig.standing(0), (vec![], Completeness::Unreplayed, Some(1)));
    let many: Vec<_> = (0..65).map(block).collect();
    rig.answer(&[event(1, 0, &stored(None, &many))]);
    assert_eq!(rig.standing(1), (vec![], Completeness::Unreplayed, Some(1)));
    rig.answer(&[event(0, 0, &created()), event(0, 1, &stored(None, &[block(1)]))]);
    // What the index has lost by itself is no reason to doubt the rest.
    rig.drain.unknown_parent(0);
    assert_eq!(rig.standing(0), (vec![1], Completeness::Partial, Some(2)));
    rig.drain.unknown_parent(1);
    assert_eq!(rig.standing(1).1, Completeness::Unreplayed);
    rig.answer(&[event(0, 2, r#"{"type":"all_cleared"}"#)]);
    assert_eq!(rig.standing(0), (vec![], Completeness::Complete, Some(3)));
}

/// One rank of an engine: its cache, what it would say, and how much of that it keeps.
#[derive(Default)]
struct Engine {
    /// Blocks with their parents.
    cache: BTreeMap<u64, Option<u64>>,
    next: u64,
    kept: VecDeque<String>,
}

const KEPT_MAX: usize = 12;

impl Engine {
    fn say(&mut self, data: &str) {
        self.kept.push_back(event(0, self.next, data));
        self.next += 1;
        if self.kept.len() > KEPT_MAX {
            self.kept.pop_front();
        }
    }

    fn step(&mut self, op: u8, number: u64) {
        match op {
            0..=5 => {
                let parent = self.cache.keys().copied().nth(number as usize).filter(|_| op > 1);
                // A name stands for its prefix: it never has another parent.
                let name = parent.map_or(1 + number, |parent| 100 * parent % 1_000_003 + number + 20);
                if self.cache.len() < 8 && !self.cache.contains_key(&name) {
                    self.cache.insert(name, parent);
                    self.say(&stored(parent, &[block(name)]));
                }
            }
            6 | 7 => {
                let has_child = |name: &u64| self.cache.values().any(|parent| parent.as_ref() == Some(name));
                let leaf = self.cache.keys().copied().find(|name| !has_child(name));
                if let Some(leaf) = leaf {
                    self.cache.remove(&leaf);
                    self.say(&removed(&[leaf]));
                }
            }
            8 => {
                self.cache.clear();
                self.say(r#"{"type":"all_cleared"}"#);
            }
            _ => {
                *self = Self::default();
                self.say(&created());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn it_never_holds_what_the_engine_has_not(ops in proptest::collection::vec((0..40_u8, 0..6_u64), 1..200)) {
        let (mut rig, mut engine) = (Rig::new(), Engine::default());
        engine.step(9, 0);
        for (op, number) in ops {
            match op {
                // Somebody else was quicker.
                30 => engine.kept.clear(),
                31..=39 => {
                    let events: Vec<_> = engine.kept.drain(..).collect();
                    let some = !events.is_empty();
                    rig.answer(&events);
                    let index = &rig.index[0].blocks;
                    let cache: BTreeSet<u64> = engine.cache.keys().copied().collect();
                    if some {
                        prop_assert!(index.is_subset(&cache), "{:?} has more than {:?}", index, cache);
                        prop_assert_eq!(rig.drain.ranks()[0].expected(), Some(engine.next));
                        if rig.drain.ranks()[0].completeness() == Completeness::Complete {
                            prop_assert_eq!(index, &cache);
                        }
                    }
                }
                // By its numbers alone a restart could pass for a continuation: that nobody listened meanwhile cannot.
                29 => {
                    engine.step(9, 0);
                    rig.tell(|drain, out| drain.failed(true, Millis(1), out));
                }
                28 => engine.step(8, 0),
                op => engine.step(op % 8, number),
            }
        }
    }
}

#[test]
fn what_is_not_indexed_is_counted_by_reason() {
    let config = DrainConfig { capacities: vec![0], translation: translation(2), held_max: 64 };
    let mut drain = Drain::new(&config, Millis(0));
    let of = |name: u64, tokens: &str| format!(r#"{{"block_hash":{name},"tokens":[{tokens}]}}"#);
    let token = r#"{"token_id":1}"#;
    let [one, two, three] = [1, 2, 3].map(|count| vec![token; count].join(","));
    let picture = r#"{"token_id":1,"token_extra_id":7},{"token_id":2}"#;
    let mut tell = |id, blocks: &[String]| {
        let body = format!("[{}]", event(0, id, &stored(None, blocks)));
        drain.answered(&decode(body.as_bytes()).unwrap(), &mut Vec::new());
        *drain.ranks()[0].skipped()
    };
    let skipped = tell(0, &[of(1, &two), of(2, &one)]);
    assert_eq!((skipped.count(SkipReason::Length), skipped.total()), (1, 1), "a partial block");
    let skipped = tell(1, &[of(3, &two), of(4, picture), of(5, &two)]);
    assert_eq!((skipped.count(SkipReason::Tokens), skipped.total()), (1, 2), "an image, and what follows it");
    // The engine's blocks are larger than config says, or smaller.
    let skipped = tell(2, &[of(6, &three)]);
    assert_eq!(skipped.count(SkipReason::BlockSize), 1);
    let skipped = tell(3, &[of(7, &one), of(8, &one)]);
    assert_eq!((skipped.count(SkipReason::BlockSize), skipped.total()), (2, 4));
}
