use super::*;

const WIT: &str = include_str!("../../../../wit/policy.wit");

/// `/// 12 active-blocks     blocks held ...` -> (12, "ActiveBlocks")
fn documented(line: &str) -> Option<(u32, String)> {
    let text = line.trim().strip_prefix("///")?;
    let id = text.get(1..3)?.trim().parse().ok()?;
    let name = text[3..].split_whitespace().next()?;
    Some((id, name.split('-').map(|part| part[..1].to_uppercase() + &part[1..]).collect()))
}

fn table_before<'a>(field: &str) -> impl Iterator<Item = (u32, String)> + 'a {
    let end = WIT.find(field).expect("the field is in the WIT");
    let start = WIT[..end].rfind('{').expect("inside a record");
    WIT[start..end].lines().filter_map(documented)
}

#[test]
fn columns_are_those_of_the_wit() {
    use Column::*;
    let ours = [
        Worker,
        DpRank,
        Group,
        TargetKey,
        Weight,
        DeviceOverlap,
        HostOverlap,
        DiskOverlap,
        PendingOverlap,
        CachedBlocks,
        FreeBlocks,
        CapacityBlocks,
        ActiveBlocks,
        NewBlocks,
        PrefillTokens,
        Running,
        EngineRunning,
        EngineWaiting,
        EngineKv,
        GroupPeakPrefill,
        GroupPeakActive,
        EventLagMs,
        LoadAgeMs,
        Column::Condition,
        Learned,
    ];
    let ours: Vec<_> = ours.into_iter().map(|column| (column as u32, format!("{column:?}"))).collect();
    assert_eq!(ours, table_before("columns: list<u32>,\n    /// Request headers").collect::<Vec<_>>());
    assert_eq!(ours.len(), COLUMN_COUNT);
}

#[test]
fn facts_are_those_of_the_wit() {
    use crate::Fact::*;
    let ours = [
        PromptTokens,
        PromptBlocks,
        MaxOutputTokens,
        Sequences,
        Priority,
        Attempt,
        DeadlineMs,
        SessionRow,
        SessionKey,
        PrefixKey,
        TenantKey,
        PeerRow,
    ];
    let ours: Vec<_> = ours.into_iter().map(|fact| (fact as u32, format!("{fact:?}"))).collect();
    assert_eq!(ours, table_before("facts: list<u64>").collect::<Vec<_>>());
}
