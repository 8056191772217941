use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const TTL: u64 = 100;

/// What a table should be: all that was ever put, in the order in which it was put last; nothing in place of what was taken out.
#[derive(Default)]
struct Naive(Vec<(u64, Option<u32>, u64)>);

impl Naive {
    fn put(&mut self, slot: u64, value: u32, now: u64) {
        self.0.retain(|(held, ..)| *held != slot);
        self.0.push((slot, Some(value), now));
    }

    fn remove(&mut self, slot: u64) {
        if let Some((_, value, _)) = self.0.iter_mut().find(|(held, ..)| *held == slot) {
            *value = None;
        }
    }

    fn get(&self, slot: u64, now: u64) -> Option<u32> {
        let (_, value, put) = self.0.iter().find(|(held, ..)| *held == slot)?;
        value.filter(|_| now - put < TTL)
    }

    /// Those that no bound may have cost.
    fn last(&self, count: usize) -> impl Iterator<Item = u64> {
        self.0.iter().rev().take(count).map(|(slot, ..)| *slot)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u64, u32),
    Remove(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..24u64, any::<u32>()).prop_map(|(slot, value)| Step::Put(slot, value)),
        1 => (0..24u64).prop_map(Step::Remove),
        2 => (0..TTL).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn it_is_the_naive_table_but_for_what_it_says_it_evicted(
        bound in 0..12usize, steps in prop::collection::vec(step(), 0..200),
    ) {
        let table = Generations::new(bound, TTL);
        let (mut naive, mut now) = (Naive::default(), 0);
        let found = |table: &Generations<u32>, now| -> HashMap<u64, u32> {
            (0..24).filter_map(|slot| Some((slot, table.get(slot, Millis(now))?))).collect()
        };
        for step in steps {
            match step {
                Step::Put(slot, value) => {
                    let mut before = found(&table, now);
                    let put = table.put(slot, value, Millis(now));
                    naive.put(slot, value, now);
                    prop_assert_eq!(put.before, before.remove(&slot));
                    let after = found(&table, now);
                    let lost = before.keys().filter(|slot| !after.contains_key(slot)).count();
                    prop_assert_eq!(put.evicted, lost);
                }
                Step::Remove(slot) => {
                    table.remove(slot);
                    naive.remove(slot);
                }
                Step::Pass(time) => now += time,
            }
            prop_assert!(table.len() <= bound.max(2));
            // Never another's value, never one whose time is over.
            for (slot, value) in found(&table, now) {
                prop_assert_eq!(Some(value), naive.get(slot, now));
            }
            for slot in naive.last((bound / 2).max(1)) {
                prop_assert_eq!(table.get(slot, Millis(now)), naive.get(slot, now));
            }
        }
    }
}

#[test]
fn a_large_one_keeps_what_was_put_last_however_it_is_split() {
    let table = Generations::new(SPLIT_FROM, TTL);
    // Spread as hashes are.
    let slot = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut evicted = 0;
    for number in 0..5 * SPLIT_FROM as u64 {
        evicted += table.put(slot(number), number, Millis(0)).evicted;
        assert!(table.len() <= SPLIT_FROM);
    }
    assert_eq!(evicted + table.len(), 5 * SPLIT_FROM);
    // Shards fill unevenly; a quarter is well within what each keeps.
    let last = 5 * SPLIT_FROM as u64 - SPLIT_FROM as u64 / 4..5 * SPLIT_FROM as u64;
    assert!(last.clone().all(|number| table.get(slot(number), Millis(0)) == Some(number)));
}
