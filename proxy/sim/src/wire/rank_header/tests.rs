use super::{RankAsk, read};

fn asked(value: &str) -> RankAsk {
    read(Some(value.as_bytes()), 2)
}

#[test]
fn integers_are_ranks() {
    assert_eq!(asked("0"), RankAsk::Rank(0));
    for value in ["1", " 1", "01", "+1", "1 ", "0_1"] {
        assert_eq!(asked(value), RankAsk::Rank(1), "{value:?}");
    }
    assert_eq!(read(Some(b"\xa01"), 2), RankAsk::Rank(1));
}

#[test]
fn other_integers_are_out_of_range() {
    for (value, printed) in
        [("2", "2"), ("-1", "-1"), ("+07", "7"), ("99999999999999999999", "99999999999999999999")]
    {
        assert_eq!(asked(value), RankAsk::OutOfRange(printed.to_owned()), "{value:?}");
    }
    assert_eq!(asked("-0"), RankAsk::Rank(0));
}

#[test]
fn what_is_no_integer_is_ignored() {
    for value in ["abc", "", " ", "1.0", "0, 1", "\u{ff11}", "1__0", "_1", "+", "0x1"] {
        assert_eq!(asked(value), RankAsk::Any, "{value:?}");
    }
    assert_eq!(read(None, 2), RankAsk::Any);
    assert_eq!(asked(&"1".repeat(4301)), RankAsk::Any);
}
