//! How a pool's prompts become token ids: here, by an engine, or not at all.

mod remote;
mod work;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use rankwise_engines::Engine;
use rankwise_prompt::{
    Body, BodyError, Dialect, Hashing, PromptEncoder, PromptHashes, PromptIds, block_hashes,
};

use crate::workers::Workers;
pub use remote::{PromptLimits, RemoteTokenizer};
pub use work::{PromptWork, WorkLimits};

/// Where token ids come from now.
#[derive(Clone)]
pub enum PromptMode {
    /// From nowhere yet, or at all: requests are routed by load.
    None {
        /// Why.
        reason: &'static str,
        /// Whether that may still change: a worker is to be discovered, a tokenizer to be loaded.
        undecided: bool,
    },
    /// From this tokenizer and template.
    Local {
        /// Loaded once.
        encoder: Arc<PromptEncoder>,
        /// Its folder.
        folder: PathBuf,
    },
    /// From a worker's own endpoint.
    Remote,
}

impl PromptMode {
    /// For the admin API.
    pub fn describe(&self) -> serde_json::Value {
        match self {
            Self::None { reason, .. } => serde_json::json!({ "from": self.name(), "reason": reason }),
            Self::Local { encoder, folder } => serde_json::json!({
                "from": self.name(), "folder": folder, "encoder": encoder.encoder().kind.to_string(),
                "reuse": encoder.reuse().name(),
            }),
            Self::Remote => serde_json::json!({ "from": self.name() }),
        }
    }

    /// The label in metrics and the admin API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::None { .. } => "none",
            Self::Local { .. } => "local",
            Self::Remote => "engine",
        }
    }
}

/// A pool's way from prompts to token ids.
pub struct PromptSource {
    mode: ArcSwap<PromptMode>,
    remote: RemoteTokenizer,
    work: Arc<PromptWork>,
    /// Whether config names the tokenizer, so that nothing is chosen by what workers say.
    configured: bool,
    /// How the pool's engine reads chats, once it is known.
    dialect: OnceLock<Dialect>,
}

impl PromptSource {
    /// One that knows no way yet.
    pub fn new(remote: PromptLimits, work: Arc<PromptWork>, configured: bool) -> Self {
        let reason =
            if configured { "the tokenizer is being loaded" } else { "no worker has been discovered" };
        let mode = PromptMode::None { reason, undecided: true };
        Self {
            mode: ArcSwap::from_pointee(mode),
            remote: RemoteTokenizer::new(remote),
            work,
            configured,
            dialect: OnceLock::new(),
        }
    }

    /// Whether config names the tokenizer.
    pub fn is_configured(&self) -> bool {
        self.configured
    }

    /// Chats are read as this engine reads them, unless another was named before.
    pub fn read_as(&self, engine: Engine) {
        let dialect = match engine {
            Engine::Sglang => Dialect::Sglang,
            _ => Dialect::Vllm,
        };
        let _ = self.dialect.set(dialect);
    }

    /// `body` as the pool's engine reads it.
    pub fn for_engine<'b>(&self, body: &'b Body) -> Cow<'b, Body> {
        let dialect = self.dialect.get().copied().unwrap_or_default();
        if body.dialect() == dialect {
            Cow::Borrowed(body)
        } else {
            Cow::Owned(body.clone().for_engine(dialect))
        }
    }

    /// Whether how it will be done is not decided yet.
    pub fn is_undecided(&self) -> bool {
        matches!(**self.mode.load(), PromptMode::None { undecided: true, .. })
    }

    /// From now on like this.
    pub fn set(&self, mode: PromptMode) {
        self.mode.store(Arc::new(mode));
    }

    /// How it is done now.
    pub fn mode(&self) -> Arc<PromptMode> {
        self.mode.load_full()
    }

    /// The block hashes of a body's first prompt, and where its token ids come from. `None`: they cannot be known, and the
    /// request is routed by load.
    ///
    /// # Errors
    /// For a body that no engine would take. A template that refuses the messages is not one: the engine says so better.
    pub async fn hashes(
        &self,
        workers: &Workers,
        body: &Body,
        hashing: Hashing<'_>,
    ) -> Result<(&'static str, Option<PromptHashes>), BodyError> {
        if body.brings_token_ids() {
            return Ok(match self.work.given(body, hashing).await? {
                Some(hashes) => ("given", Some(hashes)),
                None => ("none", None),
            });
        }
        if body.bytes().len() > self.remote.limits().prompt_bytes_max {
            return Ok(("none", None));
        }
        let mode = self.mode.load_full();
        match &*mode {
            PromptMode::Local { encoder, .. } => {
                match self.work.hashes(encoder, &self.for_engine(body), hashing).await {
                    Ok(Some(hashes)) => Ok(("local", Some(hashes))),
                    Ok(None) => Ok(("none", None)),
                    Err(error) if !error.is_client_fault() => {
                        tracing::debug!(%error, "routed by load");
                        Ok(("none", None))
                    }
                    Err(error) => Err(error),
                }
            }
            PromptMode::Remote => {
                let Some(ids) = self.remote.token_ids(workers, body, &self.work).await else {
                    return Ok(("none", None));
                };
                let prompt = PromptIds::of_text(ids, false);
                Ok(("engine", Some(block_hashes(&prompt, self.work.cache.key(), hashing))))
            }
            PromptMode::None { .. } => Ok(("none", None)),
        }
    }
}
