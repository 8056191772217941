use super::*;

#[test]
fn the_header_is_one_clean_decimal() {
    let pin = Pinning::Header.pin(DpRank(10), 16).unwrap();
    assert_eq!(pin, Pin { header: Some(("x-data-parallel-rank", "10".into())), fields: vec![] });
}

#[test]
fn a_rank_is_named_only_where_it_exists_and_matters() {
    for pinning in [Pinning::Header, Pinning::HeaderAndField, Pinning::AttentionDpFields] {
        assert_eq!(pinning.pin(DpRank(2), 2), None);
        assert_eq!(pinning.pin(DpRank(0), 1), Some(pinning.left_open()));
        assert!(pinning.pin(DpRank(1), 2).is_some());
    }
    assert_eq!(Pinning::Nothing.pin(DpRank(0), 1), None);
    assert_eq!(Pinning::Header.left_open(), Pin::default());
}

#[test]
fn fields_are_written_under_every_name_that_the_engine_knows() {
    let field = |pin: &Pin, name: &str| {
        pin.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
    };
    let pin = Pinning::HeaderAndField.pin(DpRank(3), 4).unwrap();
    assert_eq!(field(&pin, "routed_dp_rank").as_deref(), Some("3"));
    assert_eq!(field(&pin, "data_parallel_rank").as_deref(), Some("null"));
    let pin = Pinning::AttentionDpFields.pin(DpRank(3), 4).unwrap();
    assert_eq!(field(&pin, "attention_dp_rank").as_deref(), Some("3"));
    assert_eq!(field(&pin, "attention_dp_relax").as_deref(), Some("false"));
    for pinning in [Pinning::HeaderAndField, Pinning::AttentionDpFields] {
        let named: Vec<_> = pinning.pin(DpRank(0), 2).unwrap().fields;
        let open = pinning.left_open().fields;
        assert!(named.iter().zip(&open).all(|(named, open)| named.0 == open.0 && open.1 == "null"));
    }
}

#[test]
fn every_spelling_of_a_client_header_is_stripped() {
    for name in [
        "X-data-parallel-rank",
        "x_data_parallel_rank",
        "X-DP-Rank",
        "X-Override-Routed-DP-Rank",
        "x-Dynamo_dp-rank",
    ] {
        assert!(is_client_rank_header(name), "{name}");
    }
    for name in ["x-session-id", "x-data-parallel-ran", "authorization", ""] {
        assert!(!is_client_rank_header(name), "{name}");
    }
}

#[test]
fn the_last_token_is_never_cached() {
    let expected = |overlap, prompt| expected_cached_tokens(overlap, BlockSize(32), prompt);
    // Recorded from vLLM 0.32: 256 of 282 tokens on a repeat.
    assert_eq!(expected(8, 282), 256);
    assert_eq!(expected(8, 256), 224);
    assert_eq!(expected(8, 257), 256);
    assert_eq!(expected(2, 257), 64);
    assert_eq!(expected(0, 257), 0);
    assert_eq!(expected(1, 0), 0);
    assert_eq!(expected_cached_tokens(u32::MAX, BlockSize(u32::MAX), u32::MAX), 0);
    assert_eq!(expected_cached_tokens(3, BlockSize(0), 10), 3);
}
