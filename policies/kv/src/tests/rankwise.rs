use super::*;

fn pick(table: &RanksBuilder, request: &Request) -> Result<Decision, String> {
    pick_with(Settings::default(), table, request)
}

fn pick_with(settings: Settings, table: &RanksBuilder, request: &Request) -> Result<Decision, String> {
    let policy = kv(settings);
    policy.pick(request, &table.build(&policy.needs()))
}

/// The row that every seed picks.
fn always(table: &RanksBuilder, tokens: u64) -> usize {
    always_with(Settings::default(), table, tokens)
}

fn always_with(settings: Settings, table: &RanksBuilder, tokens: u64) -> usize {
    let first = row(pick_with(settings, table, &prompt(tokens, 0)));
    assert!((1..200).all(|seed| row(pick_with(settings, table, &prompt(tokens, seed))) == first));
    first
}

#[test]
fn a_burst_stays_with_the_rank_that_computes_its_prompt() {
    let table = RanksBuilder::new(2)
        .set(Column::PendingOverlap, &[32, 0])
        .set(Column::ActiveBlocks, &[34, 33])
        .set(Column::NewBlocks, &[1, 33])
        .set(Column::PrefillTokens, &[513, 0])
        .set(Column::Running, &[3, 2]);
    assert_eq!(always(&table, 513), 0, "computing it again would hold up two others");
}

/// A token to compute costs as much as one held, whoever else runs there, and the first ones as much as others.
fn plain() -> Settings {
    Settings {
        prefill_load_scale: Some(1.0),
        running_delay_weight: Some(0.0),
        opening_tokens: Some(0),
        ..Settings::default()
    }
}

#[test]
fn the_longest_prefix_wins_between_idle_ranks() {
    assert_eq!(always(&RanksBuilder::new(4).set(Column::DeviceOverlap, &[0, 9, 20, 10]), 1000), 2);
}

#[test]
fn load_outweighs_a_prefix_that_does_not_pay() {
    let table =
        RanksBuilder::new(2).set(Column::DeviceOverlap, &[10, 0]).set(Column::PrefillTokens, &[400, 0]);
    assert_eq!(always(&table, 1000), 1);
}

#[test]
fn a_burst_on_a_cold_prefix_follows_the_pending_blocks() {
    let table = RanksBuilder::new(3)
        .set(Column::PendingOverlap, &[0, 60, 0])
        .set(Column::PrefillTokens, &[0, 960, 0]);
    assert_eq!(always(&table, 960), 1, "waiting for the owner costs no more than computing it twice");
    let busy = table.set(Column::PrefillTokens, &[0, 1920, 0]);
    assert_ne!(row(pick(&busy, &prompt(960, 1))), 1, "but not at any price");
}

#[test]
fn tiers_count_by_their_weight() {
    let table = RanksBuilder::new(3)
        .set(Column::DeviceOverlap, &[20, 0, 0])
        .set(Column::HostOverlap, &[0, 30, 0])
        .set(Column::DiskOverlap, &[0, 0, 60]);
    assert_eq!(always(&table, 2000), 1, "20, 22.5 and 15 blocks");
}

#[test]
fn a_prefix_on_an_untrusted_rank_counts_nothing() {
    let table = RanksBuilder::new(2)
        .set(Column::DeviceOverlap, &[50, 10])
        .set(Column::Condition, &[Condition::UNTRUSTED | Condition::APPROXIMATE, Condition::APPROXIMATE]);
    assert_eq!(always(&table, 1000), 1);
}

#[test]
fn half_the_weight_is_twice_the_cost() {
    let table = RanksBuilder::new(2).set(Column::Weight, &[500, 1000]).set(Column::ActiveBlocks, &[20, 40]);
    assert_eq!(always(&table, 160), 1, "(160 + 320) * 2 against 160 + 640");
    assert_eq!(always(&table.set(Column::Weight, &[0, 1000]), 160), 1);
}

#[test]
fn within_a_block_fewest_running_then_most_of_this_prompt() {
    let nearly =
        RanksBuilder::new(3).set(Column::PrefillTokens, &[0, 15, 16]).set(Column::Running, &[3, 1, 0]);
    assert_eq!(always_with(plain(), &nearly, 100), 1, "row 2 costs a whole block more");
    let table = RanksBuilder::new(3)
        .set(Column::DeviceOverlap, &[0, 3, 3])
        .set(Column::PrefillTokens, &[0, 48, 50])
        .set(Column::CachedBlocks, &[0, 9, 7]);
    let mut counts = [0; 3];
    for seed in 0..400 {
        counts[row(pick_with(plain(), &table, &prompt(100, seed)))] += 1;
    }
    assert_eq!(counts[0], 0, "then most of this prompt");
    assert!(
        (270..330).contains(&counts[2]),
        "then the emptier cache of the two, unless only one is drawn: {counts:?}"
    );
}

#[test]
fn a_rank_without_room_is_not_picked_and_without_any_the_request_waits() {
    let table = RanksBuilder::new(3)
        .set(Column::CapacityBlocks, &[100, 100, 0])
        .set(Column::FreeBlocks, &[10, 30, 0])
        .set(Column::NewBlocks, &[20, 20, 20])
        .set(Column::ActiveBlocks, &[0, 40, 1000]);
    assert_eq!(always(&table, 320), 1);
    let long = prompt(320, 0).with_fact(Fact::MaxOutputTokens, 11 * 16);
    assert_eq!(row(pick(&table, &long)), 2, "a rank of unknown capacity has room");
    let known = table.set(Column::CapacityBlocks, &[100; 3]);
    assert_eq!(pick(&known, &long), Ok(Decision::Wait(50)));
}

#[test]
fn the_room_asked_for_output_is_bounded_and_a_giant_fits_an_empty_rank() {
    let table = RanksBuilder::new(1)
        .set(Column::CapacityBlocks, &[1000])
        .set(Column::NewBlocks, &[100])
        .set(Column::FreeBlocks, &[164]);
    let unbounded = prompt(1600, 0).with_fact(Fact::MaxOutputTokens, u64::MAX);
    assert_eq!(pick(&table, &unbounded), Ok(Decision::Rank(0)), "100 and 1024 / 16 blocks");
    assert_eq!(pick(&table.clone().set(Column::FreeBlocks, &[163]), &unbounded), Ok(Decision::Wait(50)));
    let giant = table.set(Column::NewBlocks, &[5000]);
    assert_eq!(pick(&giant.clone().set(Column::FreeBlocks, &[1000]), &unbounded), Ok(Decision::Rank(0)));
    assert_eq!(pick(&giant.set(Column::FreeBlocks, &[999]), &unbounded), Ok(Decision::Wait(50)));
}

#[test]
fn softmax_never_draws_a_rank_without_room() {
    let policy = kv(Settings { temperature: Some(5.0), ..Settings::default() });
    let table = RanksBuilder::new(3)
        .set(Column::CapacityBlocks, &[10; 3])
        .set(Column::FreeBlocks, &[10, 0, 10])
        .set(Column::NewBlocks, &[5; 3]);
    let ranks = table.build(&policy.needs());
    let rows: Vec<_> = (0..500).map(|seed| row(policy.pick(&prompt(80, seed), &ranks))).collect();
    assert!(rows.contains(&0) && rows.contains(&2) && !rows.contains(&1));
}

#[test]
fn a_groups_peak_is_what_its_ranks_wait_for() {
    let policy = kv(Settings { group_prefill_weight: Some(1.0), ..Settings::default() });
    // Row 0 is idle, but its group waits for a neighbour's 5,000 tokens; row 1 has a backlog of its own.
    let table = RanksBuilder::new(2)
        .set(Column::PrefillTokens, &[0, 400])
        .set(Column::GroupPeakPrefill, &[5000, 400]);
    assert_eq!(row(policy.pick(&prompt(160, 0), &table.build(&policy.needs()))), 1);
    assert_eq!(always(&table, 160), 0, "without the weight the group does not matter");
}

#[test]
fn decode_counts_kv_less_what_is_there() {
    let table = RanksBuilder::new(2)
        .set(Column::PrefillTokens, &[9000, 0])
        .set(Column::DeviceOverlap, &[8, 0])
        .set(Column::ActiveBlocks, &[10, 10]);
    let decode = Request { phase: Phase::Decode, ..prompt(160, 0) };
    assert_eq!(row(pick(&table, &decode)), 0);
}

/// Unique prompts, one at a time, each stored where it went: nothing runs when the next one comes. All begin with the same
/// `opening` blocks, which a rank has from its first prompt on.
fn one_at_a_time(
    mut cached: Vec<u32>,
    opening: u32,
    fills: impl Fn(usize) -> bool,
    prompts: u64,
) -> Vec<u32> {
    let mut counts = vec![0; cached.len()];
    let mut overlap = vec![0; cached.len()];
    for seed in 0..prompts {
        let table = RanksBuilder::new(cached.len())
            .set(Column::CachedBlocks, &cached)
            .set(Column::DeviceOverlap, &overlap);
        let chosen = row(pick(&table, &prompt(160, seed)));
        counts[chosen] += 1;
        if fills(chosen) {
            cached[chosen] += 10;
            overlap[chosen] = opening;
        }
    }
    counts
}

#[test]
fn unique_prompts_one_at_a_time_spread_over_all_ranks() {
    let counts = one_at_a_time(vec![0; 8], 0, |_| true, 800);
    assert!(counts.iter().all(|count| (90..=110).contains(count)), "{counts:?}");
    let uneven = one_at_a_time(vec![0, 0, 500, 0, 9000, 0, 0, 0], 0, |_| true, 800);
    assert!(uneven[4] < uneven.iter().sum::<u32>() / 8, "the fullest attracts nothing: {uneven:?}");
}

#[test]
fn unique_prompts_with_one_opening_spread_as_well() {
    let counts = one_at_a_time(vec![0; 8], 4, |_| true, 800);
    assert!(counts.iter().all(|count| (90..=110).contains(count)), "{counts:?}");
    let longer = one_at_a_time(vec![0; 8], 5, |_| true, 800);
    assert_eq!(longer.iter().max(), Some(&800), "more than an opening is worth following: {longer:?}");
}

#[test]
fn a_short_prompt_that_is_asked_again_is_no_opening() {
    assert_eq!(always(&RanksBuilder::new(3).set(Column::DeviceOverlap, &[0, 1, 0]), 31), 1);
}

#[test]
fn a_rank_that_never_fills_draws_at_most_twice_its_share() {
    for opening in [0, 4] {
        let cached = vec![1000, 1000, 1000, 1000, 1000, 1000, 1000, 0];
        let counts = one_at_a_time(cached, opening, |row| row != 7, 4000);
        assert!((750..1000).contains(&counts[7]), "{counts:?}");
        assert!(counts[..7].iter().all(|&count| count > 300), "{counts:?}");
        let counts = one_at_a_time(vec![0, 0], opening, |row| row != 1, 4000);
        assert!((2800..3200).contains(&counts[1]), "three in four: {counts:?}");
    }
}
