//! How a pool's prompts become token ids: here, by an engine, or not at all.

mod remote;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use rankwise_prompt::{Api, PromptEncoder};

use crate::error::{ProxyError, Stage};
use crate::pool::Pool;
pub use remote::{PromptLimits, RemoteTokenizer};

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
    /// Whether config names the tokenizer, so that nothing is chosen by what workers say.
    configured: bool,
}

impl PromptSource {
    /// One that knows no way yet.
    pub fn new(remote: PromptLimits, configured: bool) -> Self {
        let reason =
            if configured { "the tokenizer is being loaded" } else { "no worker has been discovered" };
        let mode = PromptMode::None { reason, undecided: true };
        Self { mode: ArcSwap::from_pointee(mode), remote: RemoteTokenizer::new(remote), configured }
    }

    /// Whether config names the tokenizer.
    pub fn is_configured(&self) -> bool {
        self.configured
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

    /// The token ids of a body's first prompt. `None`: they cannot be known, and the request is routed by load.
    ///
    /// # Errors
    /// 400 for a body that no engine would take. A template that refuses the messages is not one: the engine says so
    /// better.
    pub async fn token_ids(
        &self,
        pool: &Pool,
        api: Api,
        body: &Bytes,
    ) -> Result<Option<Vec<u32>>, ProxyError> {
        let count =
            |source| pool.shared_metrics.prompts.with_label_values(&[pool.name.as_str(), source]).inc();
        if let Some(given) = rankwise_prompt::given_token_ids(api, body).map_err(|error| refused(&error))? {
            count("given");
            return Ok(Some(given.ids));
        }
        if body.len() > self.remote.limits().prompt_bytes_max {
            count("none");
            return Ok(None);
        }
        let mode = self.mode.load();
        match &**mode {
            PromptMode::Local { encoder, .. } => match encoder.token_ids(api, body) {
                Ok(prompt) => {
                    count("local");
                    Ok(Some(prompt.ids))
                }
                Err(error) if !error.is_client_fault() => {
                    tracing::debug!(pool = pool.name, %error, "routed by load");
                    count("none");
                    Ok(None)
                }
                Err(error) => Err(refused(&error)),
            },
            PromptMode::Remote => {
                let ids = self.remote.token_ids(pool, api, body).await;
                count(if ids.is_some() { "engine" } else { "none" });
                Ok(ids)
            }
            PromptMode::None { .. } => {
                count("none");
                Ok(None)
            }
        }
    }
}

fn refused(error: &rankwise_prompt::BodyError) -> ProxyError {
    ProxyError::new(Stage::Body, error.to_string()).parameter(error.param().map(str::to_owned))
}
