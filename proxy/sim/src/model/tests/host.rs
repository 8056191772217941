use proptest::prelude::*;

use super::against_naive::sequences;
use super::{CORE, prompt, run};
use crate::model::core::CoreSpec;
use crate::model::group::Group;
use crate::model::host::HostSpec;
use crate::model::pool::{CacheChange, Tier};
use crate::model::sequence::{Progress, SequenceId};
use crate::model::time::{Micros, Timing};

/// Serves one prompt alone; what became of it, and what changed meanwhile, in short.
fn serve(group: &mut Group, tokens: Vec<u32>, answer: u32) -> (Progress, Vec<String>) {
    group.submit(0, SequenceId(0), prompt(tokens, answer), Micros(0)).unwrap();
    let outcomes = run(group);
    let changes = outcomes.iter().flat_map(|outcome| &outcome.changes).flat_map(|(_, changes)| changes);
    (outcomes.last().unwrap().progress[0].1, changes.map(short).collect())
}

/// The first token of each block, and where it came to or went from.
fn short(change: &CacheChange) -> String {
    let place = |tier: &Tier| if *tier == Tier::Device { "device" } else { "host" };
    match change {
        CacheChange::Stored { tier, tokens, .. } => {
            let firsts: Vec<_> = tokens.chunks(4).map(|block| block[0].to_string()).collect();
            format!("{} +{}", place(tier), firsts.join("+"))
        }
        CacheChange::Removed { tier, .. } => format!("{} -", place(tier)),
        CacheChange::Cleared => "cleared".to_owned(),
    }
}

/// Two whole blocks, of which a later request finds the first.
fn letter(letter: u32) -> Vec<u32> {
    (0..8).map(|at| letter * 100 + at).collect()
}

#[test]
fn what_is_evicted_goes_to_the_host_and_comes_back() {
    for moves in [false, true] {
        let host = HostSpec { blocks: 4, moves };
        let mut group = Group::new(1, CoreSpec { blocks: 4, host, ..CORE }, Timing::default(), false);
        let mut ask = |which| serve(&mut group, letter(which), 1);
        assert_eq!(ask(1).1, ["device +100+104"]);
        assert_eq!(ask(2).1, ["device +200+204"]);
        // The last block of the oldest prompt goes first.
        let offloaded = ["host +104", "device -", "host +100", "device -", "device +300+304"];
        assert_eq!(ask(3).1, offloaded);
        ask(4);
        // All four places are taken by the first two prompts: for what makes room now the oldest of them goes.
        let (progress, changes) = ask(2);
        assert_eq!(progress.cached_tokens, 4);
        let mut expected = vec!["host -", "host +304", "device -", "device +200"];
        expected.extend(moves.then_some("host -"));
        expected.extend((!moves).then_some("host -"));
        expected.extend(["host +300", "device -"]);
        expected.extend(moves.then_some("host -"));
        expected.push("device +204");
        assert_eq!(changes, expected);
        let cache = group.rank(0).unwrap().cache();
        let tiers = |first: u32| -> Vec<Tier> {
            let found = cache.iter().find(|block| block.tokens[0] == first);
            found.map(|block| block.tiers().collect()).unwrap_or_default()
        };
        let expected = if moves { vec![Tier::Device] } else { vec![Tier::Device, Tier::Host] };
        assert_eq!([tiers(200), tiers(204)], [expected.clone(), expected]);
        assert_eq!([tiers(104), tiers(300), tiers(304)], [vec![], vec![Tier::Host], vec![Tier::Host]]);
        assert!(group.rank_mut(0).unwrap().clear_cache());
        assert_eq!(group.rank(0).unwrap().cache(), []);
        assert_eq!(serve(&mut group, letter(2), 1).0.cached_tokens, 0);
    }
}

proptest! {
    #[test]
    fn with_room_in_the_host_for_all_nothing_is_computed_twice(sequences in sequences(), moves in any::<bool>()) {
        const SIZE: usize = 2;
        let core = CoreSpec {
            blocks: 12, host: HostSpec { blocks: 1000, moves }, block_size: SIZE as u32, max_running: 4, max_batched_tokens: 5, ..CORE
        };
        let mut group = Group::new(1, core, Timing::default(), false);
        let mut computed: Vec<Vec<u32>> = Vec::new();
        for (tokens, answer) in sequences {
            let shared = |before: &Vec<u32>| before.iter().zip(&tokens).take_while(|(one, other)| one == other).count();
            let found = computed.iter().map(|before| shared(before) / SIZE).max().unwrap_or(0);
            // The last token is always computed.
            let expected = found.min((tokens.len() - 1) / SIZE) * SIZE;
            let asked = prompt(tokens.clone(), answer);
            let mut all: Vec<u32> = tokens.iter().chain(asked.answer.iter()).copied().collect();
            all.pop();
            computed.push(all);
            prop_assert_eq!(serve(&mut group, tokens, answer).0.cached_tokens as usize, expected);
        }
    }
}
