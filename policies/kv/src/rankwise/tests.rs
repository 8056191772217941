use super::*;

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
        .set(Column::PendingOverlap, &few(column(5)))
        .set(Column::Condition, &few(column(3)));
    let weights: Vec<u32> = few(column(1000)).iter().map(|less| 1000 - less).collect();
    table.set(Column::Weight, &weights)
}

#[test]
fn blocks_cost_and_tie_as_one_row_after_the_other_does() {
    let kv = Kv::configure(&Pool { block_size: 16, ..Pool::default() }, crate::Settings::default()).unwrap();
    let mut draw = Draw::new(7);
    for rows in 1..=200 {
        for one_in in [1, 50, 10_000] {
            let ranks = table(rows, one_in, &mut draw).build(&kv.needs());
            let request = Request::default()
                .with_fact(Fact::PromptTokens, 700)
                .with_fact(Fact::MaxOutputTokens, draw.below(200).into());
            let (terms, columns) = (Terms::new(&kv, &request, &ranks), Columns::of(&kv.weights, &ranks));
            assert!(terms.plain());
            let costs: Vec<f32> = (0..rows).map(|row| terms.cost(&columns.row(row))).collect();
            let mut shown = Vec::new();
            blocks::each(&terms, &columns, rows, |some| shown.extend_from_slice(some.costs()));
            assert_eq!(shown, costs);

            let least = costs.iter().copied().fold(f32::INFINITY, f32::min);
            let close = (0..).zip(&costs).filter(|&(_, &cost)| cost < least + 1.0 && cost < f32::INFINITY);
            let expected: Vec<(u32, f32)> = close.map(|(row, &cost)| (row, cost)).collect();
            assert_eq!(super::close(&terms, &columns, rows), expected, "{rows} rows");
        }
    }
}
