use std::collections::BTreeSet;

use super::Coverage;

const BLOCKS: u16 = 16;

/// Everything a coverage tells, against a set of (slot, block) pairs.
fn check(coverage: &Coverage, model: &BTreeSet<(u32, u16)>, slots: u32) {
    assert_eq!(coverage.is_empty(), model.is_empty());
    assert_eq!(coverage.end(), model.iter().map(|(_, block)| block + 1).max().unwrap_or(0));
    let mut told: Vec<_> = coverage
        .intervals()
        .flat_map(|known| (known.start..known.end).map(move |at| (known.slot, at)))
        .collect();
    told.sort_unstable();
    assert!(told.iter().eq(model), "{coverage:?}");
    for slot in 0..slots {
        let mut last = None;
        for (start, end) in coverage.of(slot) {
            assert!(start < end && last.is_none_or(|last| last < start), "apart and in order: {coverage:?}");
            last = Some(end);
        }
        for block in 0..BLOCKS {
            let run = (block..BLOCKS).find(|at| !model.contains(&(slot, *at))).unwrap_or(BLOCKS);
            assert_eq!(coverage.run_end(slot, block), Some(run).filter(|end| *end > block));
            assert_eq!(
                coverage.count(slot, 3, block) as usize,
                (3..block).filter(|at| model.contains(&(slot, *at))).count()
            );
            assert_eq!(coverage.reaches(block + 1), coverage.end() > block);
        }
    }
}

#[test]
fn is_a_set_of_blocks_by_slot() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        // More slots appear as it goes on, and from 9 on a row is made.
        let mut slots = if seed % 2 == 0 { 4 } else { 24 };
        let (mut coverage, mut model) = (Coverage::default(), BTreeSet::new());
        for _ in 0..100 {
            let slot = random.u32(0..slots);
            let start = if random.bool() { 0 } else { random.u16(0..BLOCKS) };
            let end = random.u16(start..=BLOCKS);
            match random.u8(0..12) {
                0..=5 => {
                    coverage.add(slot, start, end, slots as usize);
                    model.extend((start..end).map(|at| (slot, at)));
                }
                6..=8 => {
                    // A run that is covered as a whole.
                    if let Some(run) = coverage.run_end(slot, start) {
                        let end = random.u16(start + 1..=run);
                        assert!(coverage.remove(slot, start, end));
                        model.retain(|(at, block)| *at != slot || *block < start || *block >= end);
                    } else {
                        assert!(!coverage.remove(slot, start, start + 1));
                    }
                }
                9 => {
                    coverage.remove_slot(slot);
                    model.retain(|(at, _)| *at != slot);
                }
                10 => {
                    let mut gone = BTreeSet::new();
                    let keep = random.u16(BLOCKS / 2..=BLOCKS) * random.u16(0..=1);
                    coverage.truncate(keep, |known| {
                        gone.extend((known.start..known.end).map(|at| (known.slot, at)))
                    });
                    assert!(gone.iter().eq(model.iter().filter(|(_, block)| *block >= keep)));
                    model.retain(|(_, block)| *block < keep);
                }
                _ => slots += u32::from(slots < 40),
            }
            check(&coverage, &model, slots);
        }
    }
}
