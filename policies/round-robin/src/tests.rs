use super::*;

fn picks(settings: PinSettings, table: &RanksBuilder, count: u64) -> Vec<Decision> {
    let policy = RoundRobin::configure(&Pool::default(), settings).unwrap();
    let ranks = table.build(&policy.needs());
    (0..count)
        .map(|sequence| policy.pick(&Request { sequence, ..Request::default() }, &ranks).unwrap())
        .collect()
}

#[test]
fn workers_take_turns_however_many_ranks_they_have() {
    let table = RanksBuilder::new(5).set(Column::Worker, &[3, 3, 3, 4, 8]);
    let expected = [3, 4, 8, 3, 4, 8, 3].map(Decision::Worker);
    assert_eq!(picks(PinSettings::default(), &table, 7), expected);
}

#[test]
fn ranks_take_turns() {
    let table = RanksBuilder::new(3).set(Column::Worker, &[3, 3, 4]);
    assert_eq!(picks(PinSettings { pin: Pin::Rank }, &table, 5), [0, 1, 2, 0, 1].map(Decision::Rank));
}

#[test]
fn the_largest_sequence_has_a_turn() {
    let policy = RoundRobin::configure(&Pool::default(), PinSettings { pin: Pin::Rank }).unwrap();
    let ranks = RanksBuilder::new(7).build(&policy.needs());
    let request = Request { sequence: u64::MAX, ..Request::default() };
    assert_eq!(policy.pick(&request, &ranks), Ok(Decision::Rank((u64::MAX % 7) as u32)));
}
