//! The SDK and the host are written apart, and mean the same numbers.

use rankwise_core::{policy, target};
use rankwise_policy as sdk;

#[test]
fn columns() {
    let host: Vec<_> = policy::Column::ALL.iter().map(|column| (column.id(), column.name())).collect();
    let guest: Vec<_> = sdk::Column::ALL.iter().map(|&column| (column as u32, column.name())).collect();
    assert_eq!(host, guest);
    assert_eq!(policy::UNKNOWN, sdk::UNKNOWN);
}

#[test]
fn facts() {
    let host: Vec<_> = policy::Fact::ALL.iter().map(|&fact| (fact as usize, fact.name())).collect();
    let guest: Vec<_> = sdk::Fact::ALL.iter().map(|&fact| (fact as usize, fact.name())).collect();
    assert_eq!(host, guest);
    assert_eq!(host.len(), policy::FACT_COUNT);
}

#[test]
fn conditions() {
    use sdk::Condition as Guest;
    use target::Condition as Host;
    let host = [Host::APPROXIMATE, Host::UNTRUSTED, Host::RECOVERING, Host::SLOW_START, Host::NOT_PINNABLE];
    let guest =
        [Guest::APPROXIMATE, Guest::UNTRUSTED, Guest::RECOVERING, Guest::SLOW_START, Guest::NOT_PINNABLE];
    assert_eq!(host.map(|condition| condition.0), guest);
}

#[test]
fn rejections() {
    assert_eq!(policy::REJECT_STATUSES, sdk::REJECT_STATUSES);
    assert_eq!(policy::REASON_BYTES_MAX, sdk::REASON_BYTES_MAX);
}
