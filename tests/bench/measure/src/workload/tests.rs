use std::collections::{HashMap, HashSet};

use super::*;
use crate::trace::conversation;

fn spec() -> Spec {
    Spec { entries: 20_000, ranks: 4, block_size: 16, removals_per_event: 8, seed: 1 }
}

/// What a rank holds by its events, each block with the one before it.
type Naive = HashMap<u64, Option<u64>>;

#[test]
fn events_are_what_an_engine_would_send() {
    let trace = conversation().unwrap();
    let mut workload = Workload::new(&trace, spec());
    let mut ranks = vec![Naive::new(); 4];
    let (mut stored, mut removed) = (0, 0);
    for _ in 0..600 {
        for event in workload.step().events {
            assert!(!event.is_empty());
            match event {
                Event::Stored { rank, mut parent, blocks } => {
                    let held = &mut ranks[rank as usize];
                    assert!(blocks.len() <= 128);
                    assert!(
                        parent.is_none_or(|parent| held.contains_key(&parent)),
                        "behind a block that is not there"
                    );
                    for block in blocks {
                        assert!(held.insert(block.engine, parent).is_none(), "stored twice");
                        parent = Some(block.engine);
                        stored += 1;
                    }
                }
                Event::Removed { rank, engines } => {
                    let held = &mut ranks[rank as usize];
                    assert!(engines.len() <= 8);
                    for engine in engines {
                        assert!(held.remove(&engine).is_some(), "removed what is not there");
                        removed += 1;
                    }
                }
            }
        }
    }
    let held: usize = ranks.iter().map(HashMap::len).sum();
    assert_eq!(held as u64, workload.resident());
    assert!(workload.is_full());
    assert!(removed * 2 > stored, "{removed} removed of {stored}");
    for rank in ranks {
        let parents = rank.values().flatten();
        let orphans = parents.filter(|parent| !rank.contains_key(parent)).count();
        assert_eq!(orphans, 0, "leaves go first");
    }
}

#[test]
fn the_same_seed_gives_the_same_steps() {
    let trace = conversation().unwrap();
    let [mut first, mut second] = [Workload::new(&trace, spec()), Workload::new(&trace, spec())];
    let mut contents = HashSet::new();
    for _ in 0..100 {
        let (a, b) = (first.step(), second.step());
        assert_eq!((&a.prompt, &a.events), (&b.prompt, &b.events));
        contents.extend(a.prompt);
    }
    assert!(contents.len() > 10_000);
}
