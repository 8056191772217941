use super::*;

fn policy() -> QuickestPrefill {
    QuickestPrefill::configure(&Pool { block_size: 16, ..Pool::default() }, NoSettings {}).unwrap()
}

fn pick(table: &RanksBuilder, tokens: u64) -> Result<Decision, String> {
    let request = Request::default().with_fact(Fact::PromptTokens, tokens);
    policy().pick(&request, &table.build(&policy().needs()))
}

#[test]
fn the_first_token_comes_soonest_where_least_time_is_left() {
    let table = RanksBuilder::new(3)
        .set(Column::Learned, &[1000, 4000, 1000])
        .set(Column::PrefillTokens, &[0, 2000, 0])
        .set(Column::DeviceOverlap, &[0, 0, 50]);
    // 1.0 s, 0.75 s and 0.2 s.
    assert_eq!(pick(&table, 1000), Ok(Decision::Rank(2)));
    // 3.0 s, 1.25 s and 2.2 s.
    assert_eq!(pick(&table, 3000), Ok(Decision::Rank(1)));
}

#[test]
fn what_is_not_known_is_tried() {
    let table = RanksBuilder::new(2).set(Column::Learned, &[5000, 0]).set(Column::DeviceOverlap, &[10, 0]);
    assert_eq!(pick(&table, 1000), Ok(Decision::Rank(1)));
    assert!(pick(&RanksBuilder::new(2), 1000).is_ok());
}

#[test]
fn speeds_are_learned_from_what_ended() {
    let mut memory = BTreeMap::new();
    let outcome = |target, computed: u64, us| Outcome {
        target,
        prompt_tokens: computed + 64,
        cached_tokens: 64,
        first_token_us: us,
        ..Outcome::default()
    };
    let learn = |memory: &mut _, outcomes: &[Outcome]| policy().learn(memory, &[7, 8], outcomes);
    assert_eq!(learn(&mut memory, &[]), [0, 0]);
    assert_eq!(learn(&mut memory, &[outcome(1, 1000, 500_000)]), [0, 2000]);
    // Too short, of no known time, of no known target: nothing is learned from these.
    let useless = [outcome(0, 100, 10), outcome(0, 1000, 0), outcome(5, 1000, 10)];
    assert_eq!(learn(&mut memory, &useless), [0, 2000]);
    assert_eq!(learn(&mut memory, &[outcome(1, 1000, 1_000_000)]), [0, 1800]);
    // What stood before it in the queue was computed in that time too.
    let queued = Outcome { prefill_tokens: 3000, ..outcome(0, 1000, 1_000_000) };
    assert_eq!(learn(&mut memory, &[queued]), [4000, 1800]);
    assert_eq!(policy().learn(&mut memory, &[8], &[]), [1800]);
    assert_eq!(memory.len(), 1, "who is gone is forgotten");
}
