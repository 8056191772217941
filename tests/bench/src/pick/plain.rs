//! The plainest policy there is: [`scan`](super::scan::scan) as a component, by hand. The plan's bounds are what a prototype of it
//! took, and a little more.

use anyhow::Context;
use rankwise_core::policy::{Column, Fact};

use crate::component;

/// Given these columns, of which it looks at four.
pub(super) fn plain(columns: &[Column], block_size: u32) -> anyhow::Result<Vec<u8>> {
    let position = |column: Column| {
        let position = columns.iter().position(|&asked| asked == column);
        position
            .map(|position| position.to_string())
            .with_context(|| format!("kv does not ask for {}", column.name()))
    };
    let scan = include_str!("plain.wat")
        .replace("DEVICE", &position(Column::DeviceOverlap)?)
        .replace("ACTIVE", &position(Column::ActiveBlocks)?)
        .replace("NEW", &position(Column::NewBlocks)?)
        .replace("PREFILL", &position(Column::PrefillTokens)?)
        .replace("PER_TOKEN", &(1.0 / block_size as f32).to_string());
    let blocks = 8 * Fact::PromptBlocks as u32;
    component::by_hand(
        columns,
        &scan,
        &format!(
            "(call $rank (call $scan (local.get $seed)
               (f32.convert_i64_u (i64.load offset={blocks} (local.get $facts))) (local.get $rows) (local.get $columns)))"
        ),
    )
}

#[cfg(test)]
mod tests {
    use rankwise_core::policy::{Decision, Facts, PolicyRequest};
    use rankwise_policy_host::{HostConfig, PolicyHost, PoolInfo, Smoke, ThreadPolicies};

    use super::*;
    use crate::pick::scan;

    #[test]
    fn it_answers_what_the_scan_does() {
        let columns = [
            Column::PrefillTokens,
            Column::NewBlocks,
            Column::Weight,
            Column::DeviceOverlap,
            Column::ActiveBlocks,
        ];
        let host = PolicyHost::new(HostConfig::default()).unwrap();
        let compiled = host.compile("plain", &plain(&columns, 16).unwrap()).unwrap();
        let pool = PoolInfo { model: "m".to_owned(), block_size: 16 };
        let activation =
            host.activate(&compiled, &pool, &serde_json::json!({}), &Smoke::example(), 1).unwrap();
        let mut policies = ThreadPolicies::new();
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let rows = random.usize(1..40);
            // Few values, so that there are ties.
            let table: Vec<Vec<u32>> =
                columns.map(|_| (0..rows).map(|_| 16 * random.u32(..4)).collect()).into();
            let [prefill, new, _, device, active] = &table[..] else { unreachable!() };
            let request = scan::Request { seed, block_size: 16, prompt_blocks: 9 };
            let expected = scan::scan(device, active, new, prefill, request);
            let mut facts = Facts::default();
            facts.set(Fact::PromptBlocks, 9);
            let request = PolicyRequest { seed, facts, ..PolicyRequest::default() };
            let decision =
                policies.pick(&activation, &request, rows as u32, &table.concat(), |_| true).unwrap();
            assert!(matches!(decision, Decision::Rank(row) if row == expected), "{decision:?}, {expected}");
        }
    }
}
