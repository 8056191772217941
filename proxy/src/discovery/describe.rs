//! Asking a worker what it is.

use std::time::Duration;

use bytes::Bytes;
use rankwise_core::ids::{BlockSize, DpRank};
use rankwise_engines::Engine;
use rankwise_engines::vllm::discovery::{self, Answers, Blindness, Overrides, RankDescription};

use crate::config::{EngineKind, Events, Lockstep, Worker};
use crate::upstream::{FetchError, Origin};

/// What a worker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What speaks there.
    pub engine: Engine,
    /// At least one.
    pub ranks: Vec<RankDescription>,
    /// Tokens per block; unknown: its cache cannot be indexed.
    pub block_size: Option<BlockSize>,
    /// Models it serves, adapters included.
    pub models: Vec<String>,
    /// Those of them that are LoRA adapters.
    pub adapters: Vec<String>,
    /// Where the engine loaded its model from.
    pub tokenizer_source: Option<String>,
    /// The engine's version.
    pub version: Option<String>,
    /// What leaves kv blind there.
    pub findings: Vec<Blindness>,
}

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
    /// Its answers do not fit together.
    #[error(transparent)]
    Answer(#[from] rankwise_engines::Error),
    /// Not the engine that config says.
    #[error("config says {expected}, and the worker does not look like it: {found}")]
    NotThatEngine {
        /// By config.
        expected: Engine,
        /// By its answers.
        found: &'static str,
    },
}

/// Bounds of a question to a worker.
#[derive(Clone, Copy, Debug)]
pub struct ProbeLimits {
    /// Largest answer.
    pub bytes_max: usize,
    /// Longest wait.
    pub timeout: Duration,
}

const MODELS: &str = "/v1/models";

/// Asks everything there is to ask.
///
/// # Errors
/// When the worker does not answer, or its answers do not fit together.
pub async fn describe(
    worker: &Worker,
    origin: &Origin,
    limits: ProbeLimits,
) -> Result<Description, DescribeError> {
    let models = ask(origin, MODELS, limits).await?;
    let engine = match worker.engine {
        EngineKind::Auto => Engine::detect(&models),
        EngineKind::Vllm => Engine::Vllm,
        EngineKind::Generic => Engine::Generic,
    };
    match engine {
        Engine::Generic => Ok(generic(worker, &models)),
        _ => vllm(worker, origin, limits, &models).await,
    }
}

async fn vllm(
    worker: &Worker,
    origin: &Origin,
    limits: ProbeLimits,
    models: &Bytes,
) -> Result<Description, DescribeError> {
    // Each of these may be missing in some version; what is missing is told by the findings.
    let metrics = ask(origin, "/metrics", limits).await.ok();
    let event_sources = match &worker.events {
        Events::Discover => ask(origin, "/kv_event_sources", limits).await.ok(),
        Events::Off | Events::At(_) => None,
    };
    let version = ask(origin, "/version", limits).await.ok();
    let answers = Answers {
        models: Some(models),
        metrics: metrics.as_deref(),
        event_sources: event_sources.as_deref(),
        version: version.as_deref(),
    };
    let overrides = Overrides {
        ranks: worker.ranks.map(Into::into),
        block_size: worker.block_size.map(|size| BlockSize(size.get())),
        capacity_blocks: worker.blocks.map(Into::into),
        independent_ranks: worker.lockstep == Lockstep::Rank,
    };
    let found = discovery::describe(worker.url.host(), &answers, &overrides)?;
    let mut description = Description {
        engine: Engine::Vllm,
        ranks: found.ranks,
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
        findings: found.findings,
    };
    if let Events::At(sources) = &worker.events {
        set_events(&mut description, sources);
    }
    Ok(description)
}

fn set_events(description: &mut Description, sources: &[crate::config::EventSource]) {
    description.findings.retain(|finding| *finding != Blindness::EventsOff);
    for (rank, source) in description.ranks.iter_mut().zip(sources) {
        rank.events = Some(discovery::EventEndpoints {
            live: source.endpoint.to_string(),
            replay: source.replay.as_ref().map(ToString::to_string),
            topic: source.topic.clone(),
        });
    }
}

/// Any server of the API: one row, whose rank cannot be named.
fn generic(worker: &Worker, models: &Bytes) -> Description {
    #[derive(serde::Deserialize)]
    struct Card {
        id: String,
    }
    #[derive(serde::Deserialize)]
    struct List {
        data: Vec<Card>,
    }
    let list = serde_json::from_slice::<List>(models).map(|list| list.data).unwrap_or_default();
    Description {
        engine: Engine::Generic,
        ranks: vec![RankDescription {
            header_rank: DpRank(0),
            global_rank: 0,
            group: 0,
            capacity_blocks: worker.blocks.map_or(0, Into::into),
            events: None,
        }],
        block_size: worker.block_size.map(|size| BlockSize(size.get())),
        models: list.into_iter().map(|card| card.id).collect(),
        adapters: Vec::new(),
        tokenizer_source: None,
        version: None,
        findings: Vec::new(),
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
