//! The two decisions that need no policy: what answers when a policy fails, on the snapshot that it had.

use std::cmp::Ordering;

use crate::snapshot::{RowLoad, Snapshot};

/// The row with the fewest requests in flight for its weight, then with the fewest tokens to prefill, then with the
/// fewest active blocks. Equal rows take turns by `sequence`, so that an idle pool does not herd. Rows of weight 0 only
/// if there are no others. `None` without rows.
pub fn least_loaded(snapshot: &Snapshot, sequence: u64) -> Option<u32> {
    let loads = || snapshot.rows().iter().map(|row| row.load);
    let least = loads().min_by(compare)?;
    let ties = loads().filter(|load| compare(load, &least).is_eq()).count() as u64;
    let turn = sequence % ties.max(1);
    let mut tied = (0..).zip(loads()).filter(|(_, load)| compare(load, &least).is_eq());
    tied.nth(turn as usize).map(|(row, _)| row)
}

/// Row `sequence % rows`. `None` without rows.
pub fn round_robin(sequence: u64, rows: u32) -> Option<u32> {
    sequence.checked_rem(u64::from(rows)).map(|row| row as u32)
}

fn compare(a: &RowLoad, b: &RowLoad) -> Ordering {
    let per_weight = |figure: fn(&RowLoad) -> u32| {
        // a/wa < b/wb, without division; plus one, so that weight still counts when both are idle of it.
        let left = (u64::from(figure(a)) + 1) * u64::from(b.weight);
        let right = (u64::from(figure(b)) + 1) * u64::from(a.weight);
        left.cmp(&right)
    };
    (a.weight == 0)
        .cmp(&(b.weight == 0))
        .then_with(|| per_weight(|load| load.running))
        .then_with(|| per_weight(|load| load.prefill_tokens))
        .then_with(|| per_weight(|load| load.active_blocks))
}

#[cfg(test)]
mod tests;
