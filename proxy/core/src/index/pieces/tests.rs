use super::*;
use crate::hash::{BlockHash, Namespace};

const KIND: Kind = (Tier::Device, CacheGroup(0));

fn stored(parent: Parent, engines: std::ops::Range<u64>) -> CacheEvent {
    let blocks = engines.map(|n| StoredBlock { engine: EngineHash(n), content: BlockHash(n) }).collect();
    CacheEvent::Stored { parent, blocks, block_size: BlockSize(16), tier: KIND.0, group: KIND.1 }
}

fn removed(engines: std::ops::Range<u64>) -> CacheEvent {
    CacheEvent::Removed { blocks: engines.map(EngineHash).collect(), tier: KIND.0, group: KIND.1 }
}

/// Engine hashes of each step; none: it clears.
fn engines(events: &[CacheEvent]) -> Vec<Vec<u64>> {
    let mut steps = Steps::new(events);
    std::iter::from_fn(|| steps.next().map(engines_of)).collect()
}

fn engines_of(step: Step<'_, '_>) -> Vec<u64> {
    let Step::Apply(pieces) = step else { return Vec::new() };
    let of = |piece: &Piece<'_>| match piece {
        Piece::Stored { blocks, .. } => blocks.iter().map(|block| block.engine.0).collect::<Vec<_>>(),
        Piece::Removed { blocks, .. } => blocks.iter().map(|block| block.0).collect(),
    };
    pieces.iter().flat_map(of).collect()
}

#[test]
fn every_block_comes_once_and_in_order() {
    let root = Parent::Root(Namespace(1));
    let events = [
        stored(root, 0..500),
        removed(500..1000),
        removed(1000..1002),
        stored(root, 1002..1002),
        stored(root, 1002..1003),
    ];
    let engines = engines(&events);
    assert!(engines.iter().flatten().copied().eq(0..1003));
    assert!(engines.iter().all(|step| step.len() <= BLOCKS_AT_ONCE));
    let mut steps = Steps::new(&events);
    steps.next();
    let Some(Step::Apply(second)) = steps.next() else { panic!("a clear") };
    let Piece::Stored { parent, .. } = second[0] else { panic!("a removal") };
    assert_eq!(parent, Parent::Block(EngineHash(BLOCKS_AT_ONCE as u64 - 1)));
}

#[test]
fn a_clear_is_a_step_of_its_own() {
    let events =
        [CacheEvent::Cleared, removed(1..3), CacheEvent::Cleared, CacheEvent::Cleared, removed(3..4)];
    assert_eq!(engines(&events), [vec![], vec![1, 2], vec![], vec![], vec![3]]);
}

#[test]
fn what_continues_is_known() {
    let root = Parent::Root(Namespace(1));
    let [first, next, other] = [
        stored(root, 0..2),
        stored(Parent::Block(EngineHash(1)), 2..3),
        stored(Parent::Block(EngineHash(0)), 2..3),
    ];
    let events = [first, next, other];
    let mut steps = Steps::new(&events);
    let Some(Step::Apply(pieces)) = steps.next() else { panic!("no step") };
    assert_eq!(pieces.iter().map(Piece::blocks_to_come).collect::<Vec<_>>(), [1, 0, 0]);
}

#[test]
fn what_is_to_come_is_counted_over_steps() {
    let root = Parent::Root(Namespace(1));
    let long = 3 * BLOCKS_AT_ONCE as u64;
    let events = [
        stored(root, 0..long),
        stored(Parent::Block(EngineHash(long - 1)), long..long + 5),
        removed(0..1),
        stored(Parent::Block(EngineHash(long + 4)), long + 5..long + 6),
    ];
    let mut steps = Steps::new(&events);
    let mut to_come = Vec::new();
    while let Some(Step::Apply(pieces)) = steps.next() {
        to_come.extend(pieces.iter().map(Piece::blocks_to_come));
    }
    let at_once = BLOCKS_AT_ONCE;
    assert_eq!(to_come, [2 * at_once + 5, at_once + 5, 5, 0, 0, 0]);
    // What cannot be applied is not counted on.
    let mut steps = Steps::new(&events);
    steps.next();
    steps.skip_rest();
    let Some(Step::Apply(pieces)) = steps.next() else { panic!("a clear") };
    assert_eq!(pieces[0].blocks_to_come(), 0);
}
