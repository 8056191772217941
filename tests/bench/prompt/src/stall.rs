//! How long a long prompt keeps the other requests of its thread waiting: the longest turn that it takes between two turns of another task,
//! in CPU time of the thread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use rankwise_core::hash::{HashKey, Namespace};
use rankwise_core::ids::BlockSize;
use rankwise_measure::cpu::thread_cpu;
use rankwise_measure::samples::Samples;
use rankwise_prompt::test_support::qwen2_5;
use rankwise_prompt::{Api, EncoderPreference, Hashing, PromptCache, PromptEncoder};
use serde_json::json;

use crate::targets::print;
use crate::texts::{Texts, body};
use work::{PromptWork, WorkLimits};

/// The proxy's own, without the rest of it.
#[allow(unreachable_pub)]
#[path = "../../../../proxy/src/prompts/work.rs"]
mod work;

const TOKENS: usize = 128 << 10;

/// As many cold prompts as a run may take.
const TRIALS_MAX: usize = 25;

pub(crate) fn run(trials: usize) -> anyhow::Result<()> {
    let trials = trials.min(TRIALS_MAX);
    let encoder = Arc::new(PromptEncoder::from_files(qwen2_5(), EncoderPreference::Fastest)?);
    let texts = Texts::new();
    let mut random = Rng::with_seed(11);
    let cold = (0..trials).map(|_| (Api::ChatCompletions, body(&texts.conversation(&mut random, TOKENS))));
    measure("stall_cold_128k_ms", &encoder, cold.collect())?;
    let ids = (0..trials).map(|_| {
        let ids: Vec<u32> = (0..TOKENS).map(|_| random.u32(..150_000)).collect();
        (Api::Completions, Bytes::from(json!({"model": "m", "prompt": ids}).to_string()))
    });
    measure("stall_ids_128k_ms", &encoder, ids.collect())?;
    let mut history = texts.conversation(&mut random, TOKENS);
    let known = (0..trials + 1).map(|_| {
        history.extend(texts.turn(&mut random));
        (Api::ChatCompletions, body(&history))
    });
    measure("stall_known_128k_ms", &encoder, known.collect())
}

fn measure(name: &str, encoder: &Arc<PromptEncoder>, bodies: Vec<(Api, Bytes)>) -> anyhow::Result<()> {
    let limits = WorkLimits { running_max: 2, waiting_max: 64, timeout: Duration::from_secs(60) };
    let work = Arc::new(PromptWork::new(PromptCache::new(256 << 20, HashKey::new([7; 32])), limits));
    // One, as a request thread has it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let mut turns = Samples::default();
    for (api, body) in bodies {
        turns.push(runtime.block_on(longest_turn(&work, encoder, api, body))?);
    }
    println!("# {name}: of {} prompts p50 {:.2} ms", turns.len(), turns.p50() / 1e6);
    print(name, turns.max() / 1e6, "ms");
    Ok(())
}

async fn longest_turn(
    work: &Arc<PromptWork>,
    encoder: &Arc<PromptEncoder>,
    api: Api,
    body: Bytes,
) -> anyhow::Result<Duration> {
    let (work, encoder) = (Arc::clone(work), Arc::clone(encoder));
    let request = tokio::spawn(async move {
        let body = work.read(api, body).await?;
        body.routing_fields()?;
        let hashing = Hashing { namespace: Namespace(1), sizes: &[BlockSize(16)] };
        let hashes = match body.brings_token_ids() {
            true => work.given(&body, hashing).await?,
            false => work.hashes(&encoder, &body, hashing).await?,
        };
        anyhow::ensure!(hashes.is_some_and(|hashes| hashes.tokens > 100_000), "not a long prompt");
        Ok(())
    });
    let (mut before, mut longest) = (thread_cpu(), Duration::ZERO);
    while !request.is_finished() {
        tokio::task::yield_now().await;
        let now = thread_cpu();
        longest = longest.max(now - before);
        before = now;
    }
    request.await??;
    Ok(longest)
}
