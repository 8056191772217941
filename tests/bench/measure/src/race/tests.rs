use super::*;
use crate::ours::Ours;
use crate::trace::conversation;
use crate::workload::Event;
use std::collections::HashMap;

/// Knows every prefix of every rank by heart, and may be told to be wrong.
#[derive(Default)]
struct Naive {
    ranks: Vec<HashMap<u64, (Option<u64>, u64)>>,
    prepared: Vec<Event>,
    prompt: Vec<u64>,
    found: Vec<u32>,
    wrong: u32,
}

impl Contender for Naive {
    fn name(&self) -> &'static str {
        "naive"
    }

    fn prepare(&mut self, steps: &[Step]) {
        self.prepared.extend(steps.iter().flat_map(|step| step.events.clone()));
    }

    fn apply(&mut self) -> Duration {
        for event in std::mem::take(&mut self.prepared) {
            let held = &mut self.ranks[event.rank() as usize];
            match event {
                Event::Stored { mut parent, blocks, .. } => {
                    for block in blocks {
                        held.insert(block.engine, (parent, block.content));
                        parent = Some(block.engine);
                    }
                }
                Event::Removed { engines, .. } => engines.iter().for_each(|engine| {
                    held.remove(engine);
                }),
            }
        }
        Duration::from_nanos(1)
    }

    fn ask(&mut self, prompt: &[u64]) {
        self.prompt = prompt.to_vec();
    }

    fn look_up(&mut self) {
        let overlap = |held: &HashMap<u64, (Option<u64>, u64)>| {
            let by_parent: HashMap<(Option<u64>, u64), u64> =
                held.iter().map(|(&engine, &place)| (place, engine)).collect();
            let mut parent = None;
            let known = self.prompt.iter().take_while(|&&content| {
                parent = by_parent.get(&(parent, content)).copied();
                parent.is_some()
            });
            known.count() as u32 + self.wrong
        };
        self.found = self.ranks.iter().map(overlap).collect();
    }

    fn overlaps(&self) -> Vec<u32> {
        self.found.clone()
    }
}

fn race(wrong: u32) -> anyhow::Result<Vec<Outcome>> {
    let spec = Spec { entries: 6000, ranks: 4, block_size: 64, removals_per_event: 8, seed: 3 };
    let naive = Naive { ranks: vec![HashMap::new(); 4], wrong, ..Naive::default() };
    let mut contenders: Vec<Box<dyn Contender>> = vec![Box::new(Ours::new(&spec)), Box::new(naive)];
    run(&conversation()?, spec, Laps { churn: 160, rounds: 1 }, &mut contenders)
}

#[test]
fn all_are_given_the_same_and_find_the_same() {
    let outcomes = race(0).unwrap();
    assert!(outcomes[0].churn.blocks > 1000);
    assert_eq!(outcomes[0].churn.blocks, outcomes[1].churn.blocks);
    assert_eq!(outcomes[0].lookups.len(), 160);
}

#[test]
fn who_finds_something_else_ends_the_race() {
    let error = race(1).unwrap_err().to_string();
    assert!(error.contains("naive 80"), "{error}");
}
