//! What a decision costs: the kv policy as a component, and the same source as native code, on the same tables.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use rankwise_core::policy::{Column, Decision, Fact, Facts, PolicyRequest};
use rankwise_policy::Policy;
use rankwise_policy_host::{Activation, HostConfig, PolicyHost, PoolInfo, Smoke, ThreadPolicies};
use rankwise_policy_kv::{Kv, Settings};
use serde_json::json;

use crate::{component, targets};

mod plain;
mod scan;
mod table;
mod times;

use scan::scan;
use table::{Fleet, Table};
use times::Times;

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

/// Turns that what is measured takes, so that all of it sees the same machine. Within a turn each is called again and again: a call costs
/// more after other code, whichever it is, and what a pick takes beyond one would be charged with that.
const TURNS: u32 = 100;

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
    let by_hand = |name, wasm: Vec<u8>| {
        let pool = PoolInfo { model: "m".to_owned(), block_size: BLOCK_SIZE };
        host.activate(&host.compile(name, &wasm)?, &pool, &json!({}), &Smoke::example(), 1)
    };
    let nothing = by_hand("nothing", component::always(0)?)?;
    let plain = by_hand("plain", plain::plain(&activation.needs().columns, BLOCK_SIZE)?)?;
    let mut asked = Asked { policies: ThreadPolicies::new(), activation, nothing, plain, native };
    for &rows in &options.ranks {
        let calls = (options.calls / (rows / 64).clamp(1, 16) / TURNS).max(1);
        let plain = asked.measure(rows, Fleet::Plain, calls)?;
        let full = asked.measure(rows, Fleet::Everything, calls)?;
        let figure = |name: &str, value, unit| targets::print(&format!("pick_{name}_{rows}"), value, unit);
        figure("p50", plain.component.p50(), "ns");
        figure("p99", plain.component.p99(), "ns");
        figure("plain_p50", plain.plain.p50(), "ns");
        figure("vs_plain", plain.vs_plain(), "x");
        figure("vs_plain_of_all", plain.component.p50() / plain.plain.p50(), "x");
        figure("call_p50", plain.call.p50(), "ns");
        figure("scan_p50", plain.scan.p50(), "ns");
        figure("beyond_call", plain.beyond_call(), "scans");
        // The same of the whole run, which one bad second may decide.
        let of_all = plain.component.p50() - plain.call.p50();
        figure("beyond_call_of_all", of_all / plain.scan.p50(), "scans");
        figure("native_p50", plain.native.p50(), "ns");
        figure("vs_native", plain.component.p50() / plain.native.p50(), "x");
        figure("everything_p50", full.component.p50(), "ns");
        figure("everything_native_p50", full.native.p50(), "ns");
    }
    Ok(())
}

/// Rows of the table, worker and dp rank of each, that the component is called with which looks at nothing.
const FEW: u32 = 8;

/// Who is asked.
struct Asked {
    policies: ThreadPolicies,
    activation: Arc<Activation>,
    /// A component that always answers row 0: what a call costs.
    nothing: Arc<Activation>,
    /// A component that is given the same columns and scans four of them.
    plain: Arc<Activation>,
    native: Kv,
}

impl Asked {
    fn measure(&mut self, rows: u32, fleet: Fleet, calls: u32) -> anyhow::Result<Times> {
        let table = Table::random(rows, fleet, BLOCKS, self.activation.needs(), &self.native.needs());
        let column = |column| table.column(column);
        let (device, active) = (column(Column::DeviceOverlap), column(Column::ActiveBlocks));
        let (new, prefill) = (column(Column::NewBlocks), column(Column::PrefillTokens));
        let mut all = Times::default();
        for turn in 0..TURNS {
            let numbers = turn * calls..(turn + 1) * calls;
            let mut times = Times::default();
            let mut picked = Vec::with_capacity(calls as usize);
            for number in numbers.clone() {
                let (wire, _) = requests(number);
                let start = Instant::now();
                let decision = self.policies.pick(&self.activation, &wire, rows, &table.packed, |_| true);
                times.component.push(start.elapsed());
                picked.push(row_of(&decision?)?);
            }
            for (number, picked) in numbers.clone().zip(picked) {
                let (_, request) = requests(number);
                let start = Instant::now();
                let decision = self.native.pick(black_box(&request), &table.ranks);
                times.native.push(start.elapsed());
                let alike = picked == native_row_of(&decision.map_err(anyhow::Error::msg)?)?;
                ensure!(alike, "component and native code differ on {rows} ranks");
            }
            let mut scanned = Vec::with_capacity(calls as usize);
            for number in numbers.clone() {
                let seed = requests(number).0.seed;
                let request = scan::Request { seed, block_size: BLOCK_SIZE, prompt_blocks: BLOCKS };
                let start = Instant::now();
                let row = scan(black_box(device), active, new, prefill, request);
                times.scan.push(start.elapsed());
                scanned.push(row);
            }
            for (number, scanned) in numbers.clone().zip(scanned) {
                let (wire, _) = requests(number);
                let start = Instant::now();
                let decision = self.policies.pick(&self.plain, &wire, rows, &table.packed, |_| true);
                times.plain.push(start.elapsed());
                ensure!(
                    row_of(&decision?)? == scanned,
                    "a plain scan differs as a component on {rows} ranks"
                );
            }
            for number in numbers {
                let (wire, _) = requests(number);
                let start = Instant::now();
                self.policies.pick(&self.nothing, &wire, FEW, &[0; 2 * FEW as usize], |_| true)?;
                times.call.push(start.elapsed());
            }
            all.add(&times);
        }
        Ok(all)
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
