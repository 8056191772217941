//! `rankwise policy bench`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Args;
use rankwise_core::policy::Column;
use rankwise_policy::{Policy as _, RanksBuilder};
use rankwise_policy_host::ThreadPolicies;
use rankwise_policy_kv::Kv;

use super::offline::Component;
use super::table::Table;
use crate::cli::failure::DataError;
use crate::cli::out;

/// Measure how long a policy's picks take, beside the policy kv as native code
#[derive(Debug, Args)]
pub(in crate::cli) struct Bench {
    #[command(flatten)]
    component: Component,
    /// Picks from each size of table, at most
    #[arg(long, value_name = "N", default_value = "20000")]
    picks: usize,
}

const ROWS: [u32; 3] = [64, 512, 4096];
/// Different tables of one size, so that no pick is predicted from the one before.
const TABLES: u64 = 16;
/// Too slow is a figure here, not a failure.
const CPU_BUDGET: Duration = Duration::from_secs(1);
/// One size takes at most so long.
const PATIENCE: Duration = Duration::from_secs(3);
const WARM_UP: usize = 200;

impl Bench {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let (_host, activation) = self.component.activate(CPU_BUDGET)?;
        let needs = activation.needs();
        let (count, name) = (needs.columns.len(), &activation.version().name);
        out::line(format_args!("policy {name}, {count} columns; closed loop on one thread, times in ns"))?;
        out::line(format_args!(
            "{:>6} {:>12} {:>12} {:>14} {:>12}",
            "rows", "p50", "p99", "native kv p50", "ratio"
        ))?;
        let mut policies = ThreadPolicies::new();
        for rows in ROWS {
            let tables: Vec<_> = (0..TABLES)
                .map(|seed| Table::random(rows, self.component.block_size(), seed, seed))
                .collect();
            let packed: Vec<_> = tables.iter().map(|table| table.packed(&needs.columns)).collect();
            let mut failed = None;
            let times = measure(self.picks, |pick| {
                let (table, columns) = (&tables[pick % tables.len()], &packed[pick % tables.len()]);
                let has_worker = |worker| table.has_worker(worker);
                if let Err(failure) = policies.pick(&activation, &table.request, rows, columns, has_worker) {
                    failed.get_or_insert(failure);
                }
            });
            if let Some(failure) = failed {
                return Err(DataError(format!("policy {name}: pick from {rows} rows: {failure}")).into());
            }
            let native = native_kv(self.picks, self.component.block_size(), &tables)?;
            let (p50, p99, kv) = (percentile(&times, 50), percentile(&times, 99), percentile(&native, 50));
            let ratio = p50 as f64 / kv.max(1) as f64;
            out::line(format_args!("{rows:>6} {p50:>12} {p99:>12} {kv:>14} {ratio:>12.2}"))?;
        }
        Ok(())
    }
}

/// The policy kv compiled into this binary, on the same tables.
fn native_kv(picks: usize, block_size: u32, tables: &[Table]) -> anyhow::Result<Vec<u64>> {
    let pool = rankwise_policy::Pool { block_size, ..rankwise_policy::Pool::default() };
    let kv = Kv::configure(&pool, rankwise_policy_kv::Settings::default()).map_err(anyhow::Error::msg)?;
    let needs = kv.needs();
    let given: Vec<_> = tables
        .iter()
        .map(|table| {
            let request = rankwise_policy::Request {
                sequence: table.request.sequence,
                seed: table.request.seed,
                facts: table.request.facts.as_slice().to_vec(),
                ..rankwise_policy::Request::default()
            };
            let all = Column::ALL.into_iter().zip(rankwise_policy::Column::ALL);
            let empty = RanksBuilder::new(table.rows() as usize);
            let full = all.fold(empty, |builder, (host, &guest)| builder.set(guest, table.column(host)));
            (request, full.build(&needs))
        })
        .collect();
    Ok(measure(picks, |pick| {
        let (request, ranks) = &given[pick % given.len()];
        let _ = black_box(kv.pick(black_box(request), black_box(ranks)));
    }))
}

/// Nanoseconds of each call, sorted.
fn measure(calls: usize, mut call: impl FnMut(usize)) -> Vec<u64> {
    let end = Instant::now() + PATIENCE;
    (0..WARM_UP.min(calls)).take_while(|_| Instant::now() < end).for_each(&mut call);
    let mut times = Vec::with_capacity(calls);
    for number in 0..calls.max(1) {
        let started = Instant::now();
        call(number);
        let ended = Instant::now();
        times.push(u64::try_from((ended - started).as_nanos()).unwrap_or(u64::MAX));
        if ended > end {
            break;
        }
    }
    times.sort_unstable();
    times
}

/// Of sorted times; there is at least one.
fn percentile(times: &[u64], percent: usize) -> u64 {
    times[(times.len() - 1) * percent / 100]
}
