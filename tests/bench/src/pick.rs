//! What a decision costs: the kv policy as a component, and the same source as native code, on the same tables.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use rankwise_core::policy::{Decision, Fact, Facts, Needs, PolicyRequest};
use rankwise_measure::samples::Samples;
use rankwise_policy::{Policy, Ranks, RanksBuilder};
use rankwise_policy_host::{HostConfig, PolicyHost, PoolInfo, Smoke, ThreadPolicies};
use rankwise_policy_kv::{Kv, Settings};
use serde_json::json;

use crate::{component, targets};

/// ns per pick: kv's component with its columns, epochs on, and the ratio to native code
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[arg(long, value_delimiter = ',', default_values_t = [64, 512, 4096])]
    ranks: Vec<u32>,
    /// Calls of either kind for 64 ranks; less for more ranks
    #[arg(long, default_value_t = 400_000)]
    calls: u32,
    /// The component [default: the built-in kv]
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
}

/// Turns that the two kinds take, so that both see the same machine.
const TURNS: u32 = 20;

const PROMPT_TOKENS: u32 = 8000;
const BLOCK_SIZE: u32 = 16;
const BLOCKS: u32 = PROMPT_TOKENS / BLOCK_SIZE;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let wasm = component::kv(options.component.as_deref())?;
    let host = PolicyHost::new(HostConfig::default())?;
    let compiled = host.compile("kv-bench", &wasm)?;
    let pool = PoolInfo { model: "m".to_owned(), block_size: BLOCK_SIZE };
    let activation = host.activate(&compiled, &pool, &json!({}), &Smoke::example(), 1)?;
    let native = Kv::configure(
        &rankwise_policy::Pool { model: pool.model, block_size: BLOCK_SIZE },
        Settings::default(),
    );
    let native = native.map_err(anyhow::Error::msg)?;
    let mut policies = ThreadPolicies::new();
    for &rows in &options.ranks {
        let table = Table::random(rows, activation.needs(), &native.needs());
        let calls = (options.calls / (rows / 64).clamp(1, 16) / TURNS).max(1);
        let (mut guest, mut host) = (Samples::default(), Samples::default());
        for turn in 0..TURNS {
            for call in 0..calls {
                let (asked, request) = requests(turn * calls + call);
                let start = Instant::now();
                let decision = policies.pick(&activation, &asked, rows, &table.packed, |_| true);
                guest.push(start.elapsed());
                let start = Instant::now();
                let alike = native.pick(black_box(&request), &table.ranks);
                host.push(start.elapsed());
                ensure!(
                    row_of(&decision?)? == native_row_of(&alike.map_err(anyhow::Error::msg)?)?,
                    "component and native code differ on {rows} ranks"
                );
            }
        }
        targets::print(&format!("pick_p50_{rows}"), guest.p50(), "ns");
        targets::print(&format!("pick_p99_{rows}"), guest.p99(), "ns");
        targets::print(&format!("pick_native_p50_{rows}"), host.p50(), "ns");
        targets::print(&format!("pick_vs_native_{rows}"), guest.p50() / host.p50(), "x");
    }
    Ok(())
}

/// One table, in both forms.
struct Table {
    packed: Vec<u32>,
    ranks: Ranks,
}

impl Table {
    /// A busy fleet with some of the prompt cached here and there.
    fn random(rows: u32, needs: &Needs, native: &rankwise_policy::Needs) -> Self {
        let mut random = fastrand::Rng::with_seed(rows.into());
        let mut builder = RanksBuilder::new(rows as usize);
        let mut packed = Vec::new();
        for (&column, &name) in needs.columns.iter().zip(&native.columns) {
            use rankwise_core::policy::Column;
            let values: Vec<u32> = (0..rows)
                .map(|_| match column {
                    Column::Weight => 1000,
                    Column::DeviceOverlap => random.u32(..BLOCKS),
                    Column::NewBlocks => random.u32(1..BLOCKS),
                    Column::ActiveBlocks | Column::CachedBlocks => random.u32(..10_000),
                    Column::PrefillTokens => random.u32(..20_000),
                    Column::Running => random.u32(..64),
                    Column::FreeBlocks => random.u32(5_000..20_000),
                    Column::CapacityBlocks => 20_000,
                    _ => 0,
                })
                .collect();
            builder = builder.set(name, &values);
            packed.extend(values);
        }
        Self { packed, ranks: builder.build(native) }
    }
}

/// The same request for either kind.
fn requests(number: u32) -> (PolicyRequest, rankwise_policy::Request) {
    let (sequence, seed) = (u64::from(number), u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut facts = Facts::default();
    facts.set(Fact::PromptTokens, PROMPT_TOKENS.into());
    facts.set(Fact::PromptBlocks, BLOCKS.into());
    facts.set(Fact::Sequences, 1);
    let native = rankwise_policy::Request {
        sequence,
        seed,
        facts: facts.as_slice().to_vec(),
        ..rankwise_policy::Request::default()
    };
    (PolicyRequest { sequence, seed, facts, ..PolicyRequest::default() }, native)
}

fn row_of(decision: &Decision) -> anyhow::Result<u32> {
    match decision {
        Decision::Rank(row) => Some(*row),
        _ => None,
    }
    .context("the component named no rank")
}

fn native_row_of(decision: &rankwise_policy::Decision) -> anyhow::Result<u32> {
    match decision {
        rankwise_policy::Decision::Rank(row) => Some(*row),
        _ => None,
    }
    .context("native code named no rank")
}
