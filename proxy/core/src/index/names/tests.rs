use std::collections::HashMap;

use super::{Names, Place};
use crate::hash::EngineHash;

/// Names as engines make them, and as no engine should: counters, and hashes that share their upper half.
fn key(random: &mut fastrand::Rng, kind: u8, keys: u64) -> EngineHash {
    EngineHash(match kind {
        0 => random.u64(0..keys),
        1 => 0xabcd_0000_0000_0000 | random.u64(0..keys),
        _ => random.u64(0..keys).wrapping_mul(0x9e37_79b9_7f4a_7c15),
    })
}

#[test]
fn is_a_map() {
    for seed in 0..60 {
        is_a_map_of(seed, 400);
    }
    is_a_map_of(0, 8000);
    is_a_map_of(2, 8000);
}

fn is_a_map_of(seed: u64, keys: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut names, mut model) = (Names::default(), HashMap::new());
    for turn in 0..keys * 10 {
        let name = key(&mut random, (seed % 3) as u8, keys);
        let word = random.u32(1..);
        match random.u8(0..8) {
            // Full and empty by turns, so that it grows and shrinks.
            0..=3 if random.bool() || seed.is_multiple_of(2) => {
                let known = names.get_or_insert(name, word).map(|word| *word);
                assert_eq!(known, model.get(&name).copied());
                model.entry(name).or_insert(word);
            }
            4..=6 => assert_eq!(names.remove_if(name, |_| true), model.remove(&name)),
            _ => {
                let change = |known: &mut u32| {
                    *known = word;
                    false
                };
                if names.remove_if(name, change).is_some() {
                    model.insert(name, word);
                }
            }
        }
        assert_eq!(names.get(name), model.get(&name).copied());
        if turn % (keys / 6) == 0 {
            assert!(names.segments.iter().all(|segment| segment.is_right()));
        }
    }
    assert_eq!(names.lines, names.segments.iter().map(|segment| segment.lines()).sum());
    assert_eq!(names.segments.len() > 1, keys > 2000);
    let stale = |name: EngineHash| name.0.is_multiple_of(3);
    let mut segment = 0;
    while names.sweep(segment, |name, _| stale(name)).is_some() {
        segment += 1;
    }
    model.retain(|name, _| !stale(*name));
    assert!(names.segments.iter().all(|segment| segment.is_right()));
    assert_eq!(names.iter().collect::<HashMap<_, _>>(), model);
    for name in model.into_keys() {
        assert!(names.remove_if(name, |_| true).is_some());
    }
    assert_eq!(names.iter().count(), 0);
}

#[test]
fn takes_at_most_seventeen_bytes_a_name_once_it_is_large() {
    let mut names = Names::default();
    for n in 1..200_000_u64 {
        names.get_or_insert(EngineHash(n.wrapping_mul(0xd6e8_feb8_6659_fd93)), 1);
        if n > 1000 {
            assert!((names.bytes() as u64) < n * 19, "{n}: {}", names.bytes());
        }
    }
}

#[test]
fn searches_stay_short_however_long_names_come_and_go() {
    const NAMES: u64 = 20_000;
    let mut names = Names::default();
    let name = |n: u64| EngineHash(n.wrapping_mul(0xd6e8_feb8_6659_fd93));
    for n in 0..NAMES {
        names.get_or_insert(name(n), 1);
    }
    let mut random = fastrand::Rng::with_seed(1);
    let mut held: Vec<u64> = (0..NAMES).collect();
    for n in NAMES..20 * NAMES {
        let gone = &mut held[random.usize(..NAMES as usize)];
        names.remove_if(name(std::mem::replace(gone, n)), |_| true);
        names.get_or_insert(name(n), 1);
    }
    let looked_at = |n: u64| {
        let place = Place::of(name(n).0);
        names.segments[names.segment_of(place).unwrap()].lines_looked_at(name(n).0, place)
    };
    let known: usize = held.iter().map(|n| looked_at(*n)).sum();
    let unknown: usize = (0..NAMES).map(|n| looked_at(1 << 40 | n)).sum();
    assert!(known as u64 <= NAMES * 8 / 5, "{known}");
    assert!(unknown as u64 <= NAMES * 8 / 5, "{unknown}");
}
