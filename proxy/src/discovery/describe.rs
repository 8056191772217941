//! Asking a worker what it is.

use std::time::Duration;

use bytes::Bytes;
use rankwise_core::ids::BlockSize;
use rankwise_engines::Engine;
use rankwise_engines::disaggregation::{BOOTSTRAP_PORT, Role};
use rankwise_engines::discovery::{Answers, Blindness, EventEndpoints, Overrides};
use rankwise_engines::trtllm::RankProbe;

use super::description::Description;
use super::find_worker::FindError;
use super::frontends::named_instance;
use crate::config::{self, EngineKind, EventSource, Events, Lockstep, Worker};
use crate::upstream::{FetchError, Origin};

/// Why a worker cannot be described.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescribeError {
    /// It does not answer.
    #[error("{path}: {source}")]
    Fetch {
        /// What was asked.
        path: &'static str,
        /// Why not.
        source: FetchError,
    },
    /// It answers that it cannot.
    #[error("{path}: status {status}")]
    Status {
        /// What was asked.
        path: &'static str,
        /// What it said.
        status: u16,
    },
    /// It says that it sleeps.
    #[error("{path}: asleep")]
    Asleep {
        /// Where.
        path: &'static str,
    },
    /// Its answers do not fit together.
    #[error(transparent)]
    Answer(#[from] rankwise_engines::Error),
    /// Which of the workers behind its frontend it is cannot be said.
    #[error(transparent)]
    Unidentified(#[from] FindError),
    /// Not the engine that config says.
    #[error("config says {expected}, and the worker does not look like it: {found}")]
    NotThatEngine {
        /// By config.
        expected: Engine,
        /// By its answers.
        found: &'static str,
    },
    /// It has too many ranks.
    #[error("{ranks} dp ranks are more than limits.upstream.ranks_per_worker_max, {max}")]
    TooManyRanks {
        /// It has.
        ranks: usize,
        /// It may have.
        max: u32,
    },
    /// It is to take one leg of requests, and its engine cannot be told so.
    #[error("config says role {role}, and engine {engine} takes no leg of a request")]
    NoLegs {
        /// By config.
        role: &'static str,
        /// What speaks there.
        engine: Engine,
    },
}

/// Bounds of a question to a worker.
#[derive(Clone, Copy, Debug)]
pub struct ProbeLimits {
    /// Largest answer.
    pub bytes_max: usize,
    /// Longest wait.
    pub timeout: Duration,
    /// Of that for the TCP connection.
    pub connect_timeout: Duration,
    /// Most ranks of a worker.
    pub ranks_max: u32,
}

const MODELS: &str = "/v1/models";

/// Asks everything there is to ask. `takes_rank_fields`: what a probe showed before, which is not made again.
///
/// # Errors
/// When the worker does not answer, or its answers do not fit together.
pub async fn describe(
    worker: &Worker,
    origin: &Origin,
    limits: ProbeLimits,
    takes_rank_fields: Option<bool>,
) -> Result<Description, DescribeError> {
    let models = ask(origin, MODELS, limits).await?;
    let engine = match worker.engine {
        EngineKind::Auto => Engine::detect(&models),
        EngineKind::Vllm => Engine::Vllm,
        EngineKind::Sglang => Engine::Sglang,
        EngineKind::Trtllm => Engine::Trtllm,
        EngineKind::Dynamo => Engine::Dynamo,
        EngineKind::Generic => Engine::Generic,
    };
    let mut bodies = vec![(MODELS, models)];
    for path in engine.paths() {
        // Each may be missing in some version: what that means is the adapter's to say.
        if let Ok(body) = ask(origin, path, limits).await {
            bodies.push((path, body));
        }
    }
    let answers: Answers<'_> = bodies.iter().map(|(path, body)| (*path, body.as_ref())).collect();
    if let Some(path) = engine.load_path()
        && answers.get(path).is_some_and(|body| engine.is_asleep(body))
    {
        return Err(DescribeError::Asleep { path });
    }
    let mut overrides = Overrides {
        ranks: worker.ranks.map(Into::into),
        block_size: worker.block_size.map(|size| BlockSize(size.get())),
        capacity_blocks: worker.blocks.map(Into::into),
        independent_ranks: worker.lockstep == Lockstep::Rank,
        drain_events: worker.drain_events,
        instance: named_instance(&origin.headers),
        takes_rank_fields,
    };
    if let Some(probe) = engine.rank_probe(&answers, &overrides).filter(|_| takes_rank_fields.is_none()) {
        let named = is_taken(origin, probe.path, probe.named, limits).await?;
        let nonsense = is_taken(origin, probe.path, probe.nonsense, limits).await?;
        overrides.takes_rank_fields = Some(RankProbe::shows(named, nonsense));
    }
    let found = engine.describe(worker.url.host(), &answers, &overrides)?;
    if u32::try_from(found.ranks.len()).is_ok_and(|ranks| ranks > limits.ranks_max) {
        return Err(DescribeError::TooManyRanks { ranks: found.ranks.len(), max: limits.ranks_max });
    }
    let role = match worker.role {
        config::Role::Auto => found.role,
        config::Role::Aggregated => Role::Aggregated,
        config::Role::Prefill => Role::Prefill,
        config::Role::Decode => Role::Decode,
    };
    if role != Role::Aggregated && engine.transfer().is_none() {
        return Err(DescribeError::NoLegs { role: role.name(), engine });
    }
    let bootstrap_port = worker.bootstrap_port.map(Into::into).or(found.bootstrap_port);
    let mut description = Description {
        engine,
        ranks: found.ranks,
        pinning: found.pinning,
        role,
        bootstrap_port: bootstrap_port.unwrap_or(BOOTSTRAP_PORT),
        block_size: found.block_size,
        adapters: found
            .models
            .iter()
            .filter(|card| card.parent.is_some())
            .map(|card| card.id.clone())
            .collect(),
        models: found.models.into_iter().map(|card| card.id).collect(),
        tokenizer_source: found.tokenizer_source,
        version: found.version,
        drained: found.drained,
        instance: None,
        instances: found.instances,
        findings: found.findings,
        takes_rank_fields: overrides.takes_rank_fields,
    };
    match &worker.events {
        Events::Discover => {}
        Events::Off => set_events(&mut description, &[]),
        Events::At(sources) => set_events(&mut description, sources),
    }
    Ok(description)
}

/// Config says where the ranks publish, if anywhere: what the engine says of it is not asked for.
fn set_events(description: &mut Description, sources: &[EventSource]) {
    description.findings.retain(|finding| !finding.is_about_events());
    let told = !sources.is_empty();
    let mut sources = sources.iter();
    for rank in &mut description.ranks {
        rank.events = sources.next().map(|source| EventEndpoints {
            live: source.endpoint.to_string(),
            replay: source.replay.as_ref().map(ToString::to_string),
            topic: source.topic.clone(),
        });
        let global_rank = rank.global_rank;
        let missing = match &rank.events {
            None => Some(Blindness::RankWithoutEvents { global_rank }),
            Some(events) if events.replay.is_none() => Some(Blindness::NoReplay { global_rank }),
            Some(_) => None,
        };
        // Where config wants none, none is missing.
        description.findings.extend(missing.filter(|_| told));
    }
}

async fn ask(origin: &Origin, path: &'static str, limits: ProbeLimits) -> Result<Bytes, DescribeError> {
    let answer = origin
        .get(path, limits.bytes_max, limits.timeout)
        .await
        .map_err(|source| DescribeError::Fetch { path, source })?;
    if !answer.status.is_success() {
        return Err(DescribeError::Status { path, status: answer.status.as_u16() });
    }
    Ok(answer.body)
}

/// Whether a request of the proxy's own is answered well.
async fn is_taken(
    origin: &Origin,
    path: &'static str,
    body: String,
    limits: ProbeLimits,
) -> Result<bool, DescribeError> {
    let answer = origin.post(path, body.into(), limits.bytes_max, limits.timeout).await;
    answer.map(|answer| answer.status.is_success()).map_err(|source| DescribeError::Fetch { path, source })
}
