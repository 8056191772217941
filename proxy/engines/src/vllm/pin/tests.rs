use super::*;

#[test]
fn the_header_is_one_clean_decimal() {
    assert_eq!(rank_header(DpRank(10)), ("x-data-parallel-rank", "10".to_owned()));
}

#[test]
fn every_spelling_of_a_client_header_is_stripped() {
    for name in ["X-data-parallel-rank", "x_data_parallel_rank", "X-DP-Rank", "X-Override-Routed-DP-Rank"] {
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
