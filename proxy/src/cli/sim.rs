//! `rankwise sim`.

pub(super) mod fault;

use clap::Args;
use rankwise_sim::{EngineWire, Fault, FleetSpec, TrtllmServer};

use super::failure::UsageError;
use crate::config::Lockstep;
use crate::simulate::{FaultAt, Trouble};

/// Run a simulated fleet of engines alone, on loopback, until a signal
#[derive(Debug, Args)]
pub(super) struct SimOptions {
    /// Engine whose wire is spoken: vllm, sglang, trtllm (behind the shim), dynamo (workers behind its
    /// frontend) or generic (OpenAI's API alone)
    ///
    /// Without the shim: trtllm-bare chooses the rank, trtllm-conversations keeps a conversation on the rank of its first
    /// turn, trtllm-rank-fields takes a rank in the body.
    #[arg(long, value_name = "NAME", default_value = "vllm", value_parser = engine)]
    engine: Engine,
    /// Workers: HTTP endpoints
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// dp ranks of each worker
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    ranks: u16,
    /// Ranks that step together: worker (all of a worker) or rank (each alone)
    #[arg(long, value_name = "worker|rank", default_value = "worker", value_parser = lockstep)]
    lockstep: Lockstep,
    /// Workers of one lockstep group
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers_per_group: u16,
    /// Workers, the first ones, that compute prompts for the others, which answer
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=255))]
    prefill_workers: u16,
    /// Number the ranks of a lockstep group throughout in events and metrics, as vLLM's hybrid and external modes do
    #[arg(long)]
    global_ranks: bool,
    /// KV blocks of each rank
    #[arg(long, value_name = "N", default_value_t = 2049, value_parser = clap::value_parser!(u32).range(2..))]
    blocks: u32,
    /// Blocks of each rank's host tier, which keeps what the device evicts until it is full too
    #[arg(long, value_name = "N", default_value_t = 0)]
    host_blocks: u32,
    /// Tokens of a KV block
    #[arg(long, value_name = "TOKENS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=4096))]
    block_size: u32,
    /// Simulated seconds per second
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = speed)]
    speed: f64,
    /// Served model's name
    #[arg(long, value_name = "NAME", default_value = "sim")]
    model: String,
    /// Decides the answers' words
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// First port; worker W takes 1 + 2 * ranks ports from PORT + W * (1 + 2 * ranks): HTTP, then the events of each
    /// rank, then their replays; with --publish-load 1 + 3 * ranks
    #[arg(long, value_name = "PORT", default_value_t = 8000, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Have the ranks of sglang publish their load besides, each on a port of its own behind those of the replays
    #[arg(long)]
    publish_load: bool,
    /// Put all workers of dynamo behind one frontend, on the first port, instead of one each
    #[arg(long)]
    one_frontend: bool,
    /// Publish no KV events
    #[arg(long)]
    no_events: bool,
    /// Misbehave, in one worker (from 0) or in all; may be repeated
    ///
    /// restart=DURATION and announced-restart=DURATION: once, so long after the start, the latter with events that say so;
    /// slow-start=DURATION: no connections for so long after a restart. All the time:
    ///
    /// stall, slow-first-byte=DURATION, reset-after=CHUNKS, half-close-after=CHUNKS, refuse-connections, server-error,
    /// stream-error, abort-after-first, lie-about-rank=RANK, drop-events=BATCHES, late-events=DURATION, no-replay, silent-rank=RANK,
    /// dead-rank=RANK, dying-rank=RANK,DURATION (its server knows that much later), hung-rank=RANK, stale-metrics, ignore-pin,
    /// unhealthy
    #[arg(long = "fault", value_name = "[WORKER:]NAME[=VALUE]", value_parser = fault::parse)]
    pub(super) faults: Vec<FaultAt>,
}

impl SimOptions {
    /// A frontend takes part in no fault: its port is none of its workers'.
    pub(super) fn check(&self) -> Result<(), UsageError> {
        let is_of_port = |fault: &&FaultAt| {
            matches!(fault.trouble, Trouble::Fault(Fault::RefuseConnections | Fault::SlowStart(_)))
        };
        match self.faults.iter().find(is_of_port) {
            Some(_) if self.one_frontend => Err(UsageError(
                "--one-frontend: the workers have no port of their own, so no fault refuse-connections or slow-start"
                    .to_owned(),
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn spec(&self) -> FleetSpec {
        FleetSpec {
            engine: self.engine.wire,
            trtllm: self.engine.trtllm,
            keeps_conversations: self.engine.keeps_conversations,
            workers: self.workers.into(),
            ranks: self.ranks.into(),
            blocks_per_rank: self.blocks,
            host_blocks: self.host_blocks,
            block_size: self.block_size,
            lockstep: self.lockstep != Lockstep::Rank,
            workers_per_group: self.workers_per_group.into(),
            prefill_workers: self.prefill_workers.into(),
            global_ranks: self.global_ranks,
            speed: self.speed,
            seed: self.seed,
            model_name: self.model.clone(),
            publish_events: !self.no_events,
            publish_load: self.publish_load,
            one_frontend: self.one_frontend,
            ports: Some(self.port),
            ..FleetSpec::default()
        }
    }
}

/// Whose wire is spoken, and how TensorRT-LLM is run.
#[derive(Clone, Copy, Debug)]
struct Engine {
    wire: EngineWire,
    trtllm: TrtllmServer,
    keeps_conversations: bool,
}

fn engine(text: &str) -> Result<Engine, String> {
    let (wire, trtllm) = match text {
        "trtllm-bare" | "trtllm-conversations" => (EngineWire::Trtllm, TrtllmServer::Bare),
        "trtllm-rank-fields" => (EngineWire::Trtllm, TrtllmServer::BareWithRankFields),
        _ => {
            let found = EngineWire::ALL.into_iter().find(|engine| engine.name() == text);
            (found.ok_or("expected vllm, sglang, trtllm, trtllm-bare, trtllm-conversations, trtllm-rank-fields, dynamo or generic")?, TrtllmServer::Shim)
        }
    };
    Ok(Engine { wire, trtllm, keeps_conversations: text == "trtllm-conversations" })
}

pub(super) fn lockstep(text: &str) -> Result<Lockstep, String> {
    match text.parse() {
        Ok(Lockstep::Worker) => Ok(Lockstep::Worker),
        Ok(Lockstep::Rank) => Ok(Lockstep::Rank),
        _ => Err("expected worker or rank".to_owned()),
    }
}

pub(super) fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(factor),
        _ => Err("expected a number above 0".to_owned()),
    }
}
