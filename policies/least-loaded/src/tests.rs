use super::*;

fn pick(table: &RanksBuilder, seed: u64) -> usize {
    let ranks = table.build(&LeastLoaded.needs());
    match LeastLoaded.pick(&Request { seed, ..Request::default() }, &ranks) {
        Ok(Decision::Rank(row)) => row as usize,
        other => panic!("{other:?}"),
    }
}

#[test]
fn fewest_running_wins_whatever_the_rest() {
    let table = RanksBuilder::new(3)
        .set(Column::Running, &[2, 1, 3])
        .set(Column::PrefillTokens, &[0, 9000, 0])
        .set(Column::ActiveBlocks, &[0, 9000, 0]);
    assert!((0..50).all(|seed| pick(&table, seed) == 1));
}

#[test]
fn then_prefill_tokens_then_active_blocks() {
    let table = RanksBuilder::new(4)
        .set(Column::PrefillTokens, &[5, 4, 4, 6])
        .set(Column::ActiveBlocks, &[0, 8, 7, 0]);
    assert!((0..50).all(|seed| pick(&table, seed) == 2));
}

#[test]
fn idle_ranks_share_evenly() {
    let mut counts = [0; 8];
    for seed in 0..80_000 {
        counts[pick(&RanksBuilder::new(8), seed)] += 1;
    }
    assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
}
