//! `rankwise policy check`.

use clap::Args;
use rankwise_core::policy::Needs;
use rankwise_policy_host::{HostConfig, ThreadPolicies};

use super::offline::Component;
use super::table::Table;
use crate::cli::failure::DataError;
use crate::cli::out;

/// Check a policy's component: exit 0, or 65 and what is wrong with it
#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    #[command(flatten)]
    component: Component,
}

/// Tables of so many rows are tried, so many times each.
const ROWS: [u32; 4] = [1, 8, 64, 512];
const TRIES: u64 = 25;

impl Check {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (_host, activation) = self.component.activate(HostConfig::default().cpu_budget)?;
        let (version, needs) = (activation.version(), activation.needs());
        // Two instances, as two threads of a proxy would have.
        let (mut one, mut other) = (ThreadPolicies::new(), ThreadPolicies::new());
        let mut sequence = 0;
        for rows in ROWS {
            for seed in 0..TRIES {
                let table = Table::random(rows, self.component.block_size(), sequence, seed);
                let columns = table.packed(&needs.columns);
                let pick = |policies: &mut ThreadPolicies| {
                    policies
                        .pick(&activation, &table.request, rows, &columns, |worker| table.has_worker(worker))
                        .map_err(|failure| {
                            DataError(format!("policy {}: pick from {rows} rows: {failure}", version.name))
                        })
                };
                if pick(&mut one)? != pick(&mut other)? {
                    return Err(DataError(format!(
                        "policy {}: two instances answered the same request differently: a policy may not rely \
                         on earlier requests, nor on any randomness but the request's seed",
                        version.name
                    ))
                    .into());
                }
                sequence += 1;
            }
        }
        out::line(format_args!("ok: {} ({} bytes, sha256:{})", version.name, version.bytes, version.digest))?;
        out::line(described(needs))
    }
}

/// What it needs, in words.
fn described(needs: &Needs) -> String {
    let columns: Vec<_> = needs.columns.iter().map(|column| column.name()).collect();
    let columns = if columns.is_empty() { "no column".to_owned() } else { columns.join(", ") };
    let prompt = if needs.prompt { "the prompt" } else { "no prompt" };
    let headers = match needs.headers.as_slice() {
        [] => "no header".to_owned(),
        names => format!("headers {}", names.join(", ")),
    };
    format!("needs: {columns}; {prompt}; {headers}")
}
