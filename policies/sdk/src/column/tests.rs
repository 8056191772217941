use super::*;
use crate::Fact;

const WIT: &str = include_str!("../../../../wit/policy.wit");

/// `/// 12 active-blocks     blocks held ...` -> (12, "active-blocks")
fn documented(line: &str) -> Option<(usize, &str)> {
    let text = line.trim().strip_prefix("///")?;
    let id = text.get(1..3)?.trim().parse().ok()?;
    Some((id, text[3..].split_whitespace().next()?))
}

fn table_before(field: &str) -> Vec<(usize, &'static str)> {
    let end = WIT.find(field).expect("the field is in the WIT");
    let start = WIT[..end].rfind('{').expect("inside a record");
    WIT[start..end].lines().filter_map(documented).collect()
}

#[test]
fn columns_are_those_of_the_wit() {
    let ours: Vec<_> = Column::ALL.iter().map(|&column| (column as usize, column.name())).collect();
    assert_eq!(ours, table_before("columns: list<u32>,\n    /// Request headers"));
}

#[test]
fn facts_are_those_of_the_wit() {
    let ours: Vec<_> = Fact::ALL.iter().map(|&fact| (fact as usize, fact.name())).collect();
    assert_eq!(ours, table_before("facts: list<u64>"));
}
