//! Where a pool's token ids come from, once its first worker is known.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rankwise_prompt::{Api, Body, PromptEncoder, Reuse};
use serde::Deserialize;

use super::describe::ProbeLimits;
use super::description::Description;
use crate::pool::Pool;
use crate::prompts::PromptMode;
use crate::upstream::Origin;

/// Chooses, unless it has been chosen: the folder of the engine's own model card if it can be read here and agrees with
/// the engine, else the engine itself, else nothing.
pub(super) async fn choose(
    pool: &Arc<Pool>,
    description: &Description,
    origin: &Origin,
    limits: ProbeLimits,
) {
    pool.prompts.read_as(description.engine);
    if pool.prompts.is_configured() || !matches!(*pool.prompts.mode(), PromptMode::None { .. }) {
        return;
    }
    if !description.engine.tells_token_ids() {
        let reason = "the engine has no endpoint that tells token ids";
        tracing::warn!(pool = pool.name, reason, "prompts are not read: set tokenizer");
        return pool.prompts.set(PromptMode::None { reason, undecided: false });
    }
    let mode = match local(pool, description, origin, limits).await {
        Ok(mode) => mode,
        Err(reason) => {
            tracing::warn!(
                pool = pool.name,
                reason,
                "token ids are asked of the engine: set tokenizer to do it here"
            );
            PromptMode::Remote
        }
    };
    if let PromptMode::Local { encoder, folder } = &mode {
        log_choice(&pool.name, encoder, folder);
    }
    pool.prompts.set(mode);
}

/// Loads a tokenizer, which takes seconds, on a thread of its own.
pub async fn load(folder: PathBuf) -> Result<Arc<PromptEncoder>, String> {
    tokio::task::spawn_blocking(move || {
        PromptEncoder::load(&folder).map(Arc::new).map_err(|error| error.to_string())
    })
    .await
    .unwrap_or_else(|error| Err(format!("load: {error}")))
}

/// Says which encoder is used.
pub fn log_choice(pool: &str, encoder: &PromptEncoder, folder: &Path) {
    let choice = encoder.encoder();
    tracing::info!(pool, folder = %folder.display(), encoder = %choice.kind, reason = choice.reason, "tokenizer loaded");
    match encoder.reuse() {
        Reuse::None { reason } => tracing::warn!(pool, reason, "every prompt is encoded whole"),
        Reuse::Texts { reason } => {
            tracing::info!(pool, of = "texts", reason, "beginnings of prompts are remembered")
        }
        reuse => tracing::info!(pool, of = reuse.name(), "beginnings of prompts are remembered"),
    }
}

async fn local(
    pool: &Pool,
    description: &Description,
    origin: &Origin,
    limits: ProbeLimits,
) -> Result<PromptMode, String> {
    let host = origin.address.rsplit_once(':').map_or("", |(host, _)| host).trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let source = description.tokenizer_source.as_deref().filter(|_| loopback);
    let folder = PathBuf::from(source.ok_or("the worker is on another machine")?);
    if !folder.join("tokenizer.json").is_file() {
        return Err(format!("{} holds no tokenizer.json that can be read here", folder.display()));
    }
    let encoder = load(folder.clone()).await?;
    agrees(pool, &encoder, description, origin, limits).await?;
    Ok(PromptMode::Local { encoder, folder })
}

/// One comparison with the engine, on a text that tokenizers tend to differ on.
async fn agrees(
    pool: &Pool,
    encoder: &PromptEncoder,
    description: &Description,
    origin: &Origin,
    limits: ProbeLimits,
) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Answer {
        tokens: Vec<u32>,
    }
    let model = description.models.first().map(String::as_str).unwrap_or_default();
    let text = "It's 12345 naïve tests,\n\n\tof 日本語 and \u{1f600}  spaces.  ";
    let body = serde_json::json!({ "model": model, "messages": [{ "role": "user", "content": text }] });
    let body = Bytes::from(body.to_string());
    let ours = Body::read(Api::ChatCompletions, body.clone())
        .and_then(|body| encoder.token_ids(&pool.prompts.for_engine(&body)))
        .map_err(|error| error.to_string())?
        .ids;
    let answer = origin
        .post("/tokenize", body, limits.bytes_max, limits.timeout)
        .await
        .map_err(|error| format!("/tokenize: {error}"))?;
    let theirs = serde_json::from_slice::<Answer>(&answer.body)
        .map_err(|error| format!("/tokenize: status {}: {error}", answer.status.as_u16()))?
        .tokens;
    if ours == theirs { Ok(()) } else { Err("its tokenizer and the engine disagree".to_owned()) }
}
