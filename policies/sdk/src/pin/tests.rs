use super::*;
use crate::RanksBuilder;

#[test]
fn a_worker_or_a_rank_by_number() {
    let table = RanksBuilder::new(4).set(Column::Worker, &[3, 3, 8, 9]);
    let chosen = |pin: Pin, number| pin.choose(&table.build(&pin.needs()), |_| number);
    assert_eq!(chosen(Pin::Worker, 1), Decision::Worker(8));
    assert_eq!(chosen(Pin::Rank, 3), Decision::Rank(3));
    assert_eq!(chosen(Pin::Worker, 3), Decision::Worker(u32::MAX));
    for (pin, count) in [(Pin::Worker, 3), (Pin::Rank, 4)] {
        pin.choose(&table.build(&pin.needs()), |of| {
            assert_eq!(of, count);
            0
        });
    }
}

#[test]
fn the_setting_is_one_of_two_words() {
    let parsed = crate::parse_settings::<PinSettings>;
    assert_eq!(parsed("{}").unwrap().pin, Pin::Worker);
    assert_eq!(parsed(r#"{"pin":"rank"}"#).unwrap().pin, Pin::Rank);
    assert!(parsed(r#"{"pin":"engine"}"#).unwrap_err().contains("pin"));
}
