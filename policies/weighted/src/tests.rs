use super::*;

fn weighted(settings: &str) -> Result<Weighted, String> {
    Weighted::configure(
        &Pool { block_size: 16, ..Pool::default() },
        rankwise_policy::parse_settings(settings)?,
    )
}

fn table() -> RanksBuilder {
    RanksBuilder::new(3)
        .set(Column::PrefillTokens, &[100, 0, 50])
        .set(Column::ActiveBlocks, &[0, 5, 2])
        .set(Column::DeviceOverlap, &[0, 0, 9])
        .set(Column::Weight, &[1000, 1000, 1000])
}

#[test]
fn columns_add_up_by_their_weights() {
    let policy = weighted("{}").unwrap();
    let ranks = table().build(&policy.needs());
    assert_eq!(policy.score(&Request::default(), &ranks).as_slice(), [100.0, 80.0, 82.0]);
    assert_eq!(policy.pick(&Request::default(), &ranks), Ok(Decision::Rank(1)));

    let policy = weighted(r#"{"weights": {"prefill-tokens": 1, "device-overlap": -16}}"#).unwrap();
    let ranks = table().build(&policy.needs());
    assert_eq!(policy.score(&Request::default(), &ranks).as_slice(), [100.0, 0.0, -94.0]);
    assert_eq!(policy.pick(&Request::default(), &ranks), Ok(Decision::Rank(2)));
}

#[test]
fn a_rank_of_no_weight_is_not_picked() {
    let policy = weighted("{}").unwrap();
    let ranks = table().set(Column::Weight, &[1000, 0, 0]).build(&policy.needs());
    assert_eq!(policy.pick(&Request::default(), &ranks), Ok(Decision::Rank(0)));
    let ranks = table().set(Column::Weight, &[0, 0, 0]).build(&policy.needs());
    assert!(policy.pick(&Request::default(), &ranks).is_err());
}

#[test]
fn softmax_spreads() {
    let policy = weighted(r#"{"temperature": 1}"#).unwrap();
    let shares = rankwise_policy::testing::shares(&policy, &Request::default(), &table(), 3000);
    assert!(shares[1] > shares[0] && shares.iter().all(|share| *share > 300), "{shares:?}");
}

#[test]
fn what_is_wrong_is_named() {
    for (settings, named) in
        [(r#"{"weights": {"prefil": 1}}"#, "weights.prefil:"), (r#"{"temperature": -1}"#, "temperature")]
    {
        let error = weighted(settings).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
}
