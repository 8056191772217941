use super::*;

#[test]
fn round_robin_is_exact() {
    assert_eq!((0..7).filter_map(|n| round_robin(n, 3)).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(round_robin(5, 0), None);
}

#[test]
fn fewer_requests_then_fewer_tokens_then_fewer_blocks() {
    let load = |running, prefill_tokens, active_blocks, weight| RowLoad {
        running,
        prefill_tokens,
        active_blocks,
        weight,
    };
    assert!(compare(&load(1, 900, 9, 1000), &load(2, 0, 0, 1000)).is_lt());
    assert!(compare(&load(1, 10, 9, 1000), &load(1, 11, 0, 1000)).is_lt());
    assert!(compare(&load(1, 10, 1, 1000), &load(1, 10, 2, 1000)).is_lt());
    assert!(compare(&load(0, 0, 0, 0), &load(9, 9, 9, 1)).is_gt(), "weight 0 comes last");
    assert!(compare(&load(1, 0, 0, 1000), &load(1, 0, 0, 100)).is_lt(), "slow start takes less");
}
