use super::*;

fn counts(settings: PinSettings, table: &RanksBuilder) -> Vec<(Decision, u32)> {
    let policy = Random::configure(&Pool::default(), settings).unwrap();
    let ranks = table.build(&policy.needs());
    let mut counts: Vec<(Decision, u32)> = Vec::new();
    for seed in 0..30_000 {
        let decision = policy.pick(&Request { seed, ..Request::default() }, &ranks).unwrap();
        match counts.iter_mut().find(|(known, _)| *known == decision) {
            Some((_, count)) => *count += 1,
            None => counts.push((decision, 1)),
        }
    }
    counts
}

fn assert_even(counts: &[(Decision, u32)], expected: &[Decision]) {
    assert!(expected.iter().all(|decision| counts.iter().any(|(found, _)| found == decision)), "{counts:?}");
    assert_eq!(counts.len(), expected.len(), "{counts:?}");
    let share = 30_000 / expected.len() as u32;
    assert!(counts.iter().all(|(_, count)| count.abs_diff(share) < share / 20), "{counts:?}");
}

#[test]
fn a_worker_is_as_likely_with_one_rank_as_with_many() {
    let table = RanksBuilder::new(6).set(Column::Worker, &[1, 1, 1, 1, 5, 7]);
    assert_even(&counts(PinSettings::default(), &table), &[1, 5, 7].map(Decision::Worker));
}

#[test]
fn every_rank_is_as_likely() {
    let table = RanksBuilder::new(4).set(Column::Worker, &[1, 1, 1, 5]);
    assert_even(&counts(PinSettings { pin: Pin::Rank }, &table), &[0, 1, 2, 3].map(Decision::Rank));
}
