use super::{CORE, prompt, run};
use crate::model::core::{CoreSpec, Refusal};
use crate::model::group::Group;
use crate::model::sequence::SequenceId;
use crate::model::time::{Micros, Timing};

const TIMING: Timing = Timing { step_us: 1_000, prefill_token_ns: 100_000, decode_sequence_ns: 10_000 };

/// Microseconds until the last sequence has said all.
fn end(group: &mut Group) -> u64 {
    run(group).last().map_or(0, |outcome| outcome.at.0)
}

fn submit(group: &mut Group, rank: usize, id: u64, tokens: Vec<u32>, answer: u32) {
    group.submit(rank, SequenceId(id), prompt(tokens, answer), Micros(0)).unwrap();
}

#[test]
fn a_long_prefill_slows_every_rank_of_its_group() {
    let decode_for = |neighbour_prefills: bool| {
        let mut group = Group::new(2, CORE, TIMING, false);
        submit(&mut group, 0, 0, vec![1; 4], 5);
        if neighbour_prefills {
            submit(&mut group, 1, 1, (0..192).collect(), 1);
        }
        let outcomes = run(&mut group);
        let last = outcomes.iter().rfind(|outcome| outcome.progress.iter().any(|(id, _)| id.0 == 0));
        last.unwrap().at.0
    };
    // A step with prefill of 4 tokens, then four decoding ones.
    assert_eq!(decode_for(false), 1_400 + 4 * 1_010);
    // The neighbour's prompt comes after the first step, in three chunks of 64 tokens.
    assert_eq!(decode_for(true), 1_400 + 3 * 7_400 + 1_010);
}

#[test]
fn ranks_of_their_own_do_not_wait() {
    let mut slow = Group::new(1, CORE, TIMING, false);
    let mut quick = Group::new(1, CORE, TIMING, false);
    submit(&mut slow, 0, 0, (0..192).collect(), 1);
    submit(&mut quick, 0, 0, vec![1; 4], 5);
    assert_eq!(end(&mut slow), 3 * 7_400);
    assert_eq!(end(&mut quick), 1_400 + 4 * 1_010);
}

#[test]
fn a_request_that_does_not_fit_stalls_its_group_where_asked() {
    let neighbour_starts = |stalls: bool| {
        let core = CoreSpec { blocks: 8, ..CORE };
        let mut group = Group::new(2, core, TIMING, stalls);
        submit(&mut group, 0, 0, vec![1; 20], 10);
        submit(&mut group, 0, 1, (100..120).collect(), 1);
        let mut outcomes = vec![group.advance(Micros(u64::MAX)).unwrap()];
        submit(&mut group, 1, 2, vec![2; 4], 1);
        outcomes.extend(run(&mut group));
        let at = |id| outcomes.iter().position(|outcome| outcome.progress.iter().any(|said| said.0.0 == id));
        (at(2).unwrap(), at(1).unwrap())
    };
    let (neighbour, misfit) = neighbour_starts(false);
    assert!(neighbour < misfit);
    let (neighbour, misfit) = neighbour_starts(true);
    assert_eq!(neighbour, misfit);
}

#[test]
fn what_can_never_run_is_refused() {
    let mut group = Group::new(1, CoreSpec { max_waiting: 1, ..CORE }, TIMING, false);
    let mut submit = |tokens, answer| group.submit(0, SequenceId(0), prompt(tokens, answer), Micros(0));
    assert_eq!(submit(vec![1; 256], 1), Err(Refusal::TooLarge));
    assert_eq!(submit(vec![], 1), Err(Refusal::Empty));
    assert_eq!(submit(vec![1], 0), Err(Refusal::Empty));
    assert_eq!(submit(vec![1; 255], 1), Ok(()));
    assert_eq!(submit(vec![1], 1), Ok(()));
    assert_eq!(submit(vec![1], 1), Err(Refusal::Full));
}

#[test]
fn the_same_arrivals_give_the_same_steps() {
    let history = || {
        let mut group = Group::new(2, CORE, TIMING, true);
        for id in 0..40 {
            let tokens = (0..20 + id as u32 % 7).map(|token| token + id as u32 % 3 * 100).collect();
            submit(&mut group, id as usize % 2, id, tokens, 3 + id as u32 % 5);
        }
        format!("{:?}", run(&mut group))
    };
    assert_eq!(history(), history());
}
