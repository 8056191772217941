use super::*;
use crate::settings::Weights;

/// A table with a row in so many that is not plain; few figures, so that rows tie.
fn table(rows: usize, one_in: u64, draw: &mut Draw) -> RanksBuilder {
    let mut column = |below: u32| (0..rows).map(|_| draw.below(below)).collect::<Vec<u32>>();
    let further = column(one_in as u32);
    let few = |values: Vec<u32>| -> Vec<u32> {
        values.iter().zip(&further).map(|(&value, &which)| if which == 0 { value } else { 0 }).collect()
    };
    let table = RanksBuilder::new(rows)
        .set(Column::DeviceOverlap, &column(40))
        .set(Column::ActiveBlocks, &column(30))
        .set(Column::NewBlocks, &column(4))
        .set(Column::PrefillTokens, &column(5))
        .set(Column::Running, &column(3))
        .set(Column::FreeBlocks, &column(40))
        .set(Column::CapacityBlocks, &column(60))
        .set(Column::HostOverlap, &few(column(5)))
        .set(Column::DiskOverlap, &few(column(5)))
        .set(Column::PendingOverlap, &few(column(5)))
        .set(Column::Condition, &few(column(3)))
        .set(Column::GroupPeakPrefill, &column(900))
        .set(Column::GroupPeakActive, &column(50));
    let weights: Vec<u32> = few(column(1000)).iter().map(|less| 1000 - less).collect();
    table.set(Column::Weight, &weights)
}

/// The formula for one row after the other, as written above it.
fn cost(weights: &Weights, request: &Request, ranks: &Ranks, row: usize) -> f32 {
    let figure = |column: Column| ranks.column(column)[row] as f32;
    let of = |weight: f64, column: Column| if weight > 0.0 { weight as f32 * figure(column) } else { 0.0 };
    let (prompt, block) = (request.fact(Fact::PromptTokens) as f32, 16.0);
    let credit = of(weights.overlap_score_credit, Column::DeviceOverlap)
        + of(weights.host_cache_hit_weight, Column::HostOverlap)
        + of(weights.disk_cache_hit_weight, Column::DiskOverlap)
        + of(weights.pending_hit_weight, Column::PendingOverlap);
    let trusted = ranks.column(Column::Condition)[row] & Condition::UNTRUSTED == 0;
    let credit = if trusted { block * credit } else { 0.0 };
    let credit = if credit > (weights.opening_tokens as f32).min(prompt / 2.0) { credit } else { 0.0 };
    let running = figure(Column::Running);
    let delayed = 1.0 + weights.running_delay_weight as f32 * running;
    let prefill = figure(Column::PrefillTokens) + (prompt - credit).max(1.0) * delayed;
    let held = figure(Column::ActiveBlocks) + figure(Column::NewBlocks);
    let peak = |weight: f64, column: Column, own: f32| match weight > 0.0 {
        true => weight as f32 * figure(column).max(own),
        false => 0.0,
    };
    let peaks = peak(weights.group_prefill_weight / 16.0, Column::GroupPeakPrefill, prefill)
        + peak(weights.group_kv_weight, Column::GroupPeakActive, held);
    let own = weights.prefill_load_scale as f32 / block * prefill
        + held
        + weights.decode_active_request_weight as f32 * running;
    let output = request.fact(Fact::MaxOutputTokens).div_ceil(16) as f32;
    let asked = (figure(Column::NewBlocks) + output).min(figure(Column::CapacityBlocks));
    let fits = asked <= figure(Column::FreeBlocks);
    if fits { (own + peaks) * (1000.0 / figure(Column::Weight).max(1.0)) } else { f32::INFINITY }
}

/// By default, with peaks of groups, and without slower tiers.
fn settings() -> [crate::Settings; 3] {
    let usual = crate::Settings::default();
    let peaks = crate::Settings {
        group_prefill_weight: Some(0.5),
        group_kv_weight: Some(0.25),
        decode_active_request_weight: Some(2.0),
        ..usual
    };
    let flat =
        crate::Settings { host_cache_hit_weight: Some(0.0), disk_cache_hit_weight: Some(0.0), ..usual };
    [usual, peaks, flat]
}

#[test]
fn blocks_cost_and_tie_as_one_row_after_the_other_does() {
    for (settings, plain) in settings().into_iter().zip([true, false, true]) {
        let pool = Pool { block_size: 16, ..Pool::default() };
        compare_with_naive(&Kv::configure(&pool, settings).unwrap(), plain);
    }
}

fn compare_with_naive(kv: &Kv, plain: bool) {
    let mut draw = Draw::new(7);
    for rows in 1..=100 {
        for one_in in [1, 50, 10_000] {
            let ranks = table(rows, one_in, &mut draw).build(&kv.needs());
            let request = Request::default()
                .with_fact(Fact::PromptTokens, 700)
                .with_fact(Fact::MaxOutputTokens, draw.below(200).into());
            let (terms, columns) = (Terms::new(kv, &request, &ranks), Columns::of(&kv.weights, &ranks));
            assert_eq!(terms.plain(), plain);
            let costs: Vec<f32> = (0..rows).map(|row| cost(&kv.weights, &request, &ranks, row)).collect();
            let mut shown = Vec::new();
            blocks::each(&terms, &columns, rows, |first, block| {
                assert_eq!(first, shown.len());
                shown.extend_from_slice(&block.by_row());
            });
            let (shown, beyond) = shown.split_at(rows);
            assert_eq!(shown, costs);
            assert!(beyond.iter().all(|&cost| cost == f32::INFINITY));

            let least = costs.iter().copied().fold(f32::INFINITY, f32::min);
            let close = (0..).zip(&costs).filter(|&(_, &cost)| cost < least + 1.0 && cost < f32::INFINITY);
            let expected: Vec<(u32, f32)> = close.map(|(row, &cost)| (row, cost)).collect();
            assert_eq!(super::close(&terms, &columns, rows), expected, "{rows} rows");
        }
    }
}
