//! How many times as long Hugging Face tokenizers takes to encode a prompt as the path from its body to its block hashes does.
//!
//! `warm`: all but the last two messages were seen before; `template`: the same with a chat template of which nothing is proven;
//! `cold`: nothing was seen before. Further chat templates stand beside Qwen2.5's, each with and without what is proven of it. The two take turns, ten prompts of ours to one of theirs, so that both see the same machine; the
//! reference is given the rendered text.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use fastrand::Rng;
use rankwise_core::hash::{HashKey, Namespace};
use rankwise_core::ids::BlockSize;
use rankwise_measure::cpu::thread_cpu;
use rankwise_measure::samples::Samples;
use rankwise_prompt::test_support::{deepseek_v3, qwen2_5, qwen3};
use rankwise_prompt::{
    Api, Body, EncoderPreference, Hashing, PromptCache, PromptEncoder, PromptHashes, TokenizerFiles,
    block_hashes,
};
use serde_json::Value;
use tokenizers::{AddedToken, Tokenizer};

use crate::targets::print;
use crate::texts::{Style, Texts, body};

const HASHING: Hashing<'static> = Hashing { namespace: Namespace(1), sizes: &[BlockSize(16)] };
const CACHE_BYTES: usize = 256 << 20;

/// The reference takes a thousand times as long, and leaves the processor's caches as no request before does.
const OURS_TO_THEIRS: usize = 10;

/// What stands before the last two messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum History {
    Seen,
    New,
}

pub(crate) fn run(trials: usize) -> anyhow::Result<()> {
    let files = qwen2_5();
    let unknown = without_proof(files)?;
    let bench = Bench { trials, texts: Texts::new(), reference: reference(files)?, style: Style::ChatMl };
    let known = PromptEncoder::from_files(files, EncoderPreference::Fastest)?;
    let unknown = PromptEncoder::from_files(&unknown, EncoderPreference::Fastest)?;
    println!(
        "# encoder {}, reuse {} and {}",
        known.encoder().kind,
        known.reuse().name(),
        unknown.reuse().name()
    );
    bench.against_reference("warm_8k_ratio", &known, 8 << 10, History::Seen)?;
    bench.against_reference("warm_64k_ratio", &known, 64 << 10, History::Seen)?;
    bench.against_reference("warm_128k_ratio", &known, 128 << 10, History::Seen)?;
    bench.against_reference("template_64k_ratio", &unknown, 64 << 10, History::Seen)?;
    bench.against_reference("cold_64k_ratio", &known, 64 << 10, History::New)?;
    for (model, files, style) in [("qwen3", qwen3(), Style::ChatMl), ("deepseek_v3", deepseek_v3(), Style::DeepSeek)] {
        let known = PromptEncoder::from_files(&files, EncoderPreference::Fastest)?;
        let unknown = PromptEncoder::from_files(&without_proof(&files)?, EncoderPreference::Fastest)?;
        ensure!((known.reuse().name(), unknown.reuse().name()) == ("bodies", "texts"), "{model}: other reuse");
        let bench = Bench { trials, texts: Texts::new(), reference: reference(&files)?, style };
        for (size, tokens) in [("8k", 8 << 10), ("64k", 64 << 10)] {
            bench.against_reference(&format!("{model}_warm_{size}_ratio"), &known, tokens, History::Seen)?;
            bench.against_reference(&format!("{model}_template_{size}_ratio"), &unknown, tokens, History::Seen)?;
        }
    }
    Ok(())
}

/// The same with a template of which nothing can be proven: its end asks how many messages there are.
fn without_proof(files: &TokenizerFiles) -> anyhow::Result<TokenizerFiles> {
    let config: Value = serde_json::from_slice(files.config.as_deref().unwrap_or_default())?;
    let own = files.chat_template.as_deref().or(config["chat_template"].as_str());
    let template = own.context("the tokenizer has no template")?;
    let counted = format!("{template}{{% if messages|length < 0 %}}x{{% endif %}}");
    Ok(TokenizerFiles { chat_template: Some(counted), ..files.clone() })
}

/// Hugging Face's own, with the added tokens that only the config names.
fn reference(files: &TokenizerFiles) -> anyhow::Result<Tokenizer> {
    let mut tokenizer = Tokenizer::from_bytes(&files.tokenizer).map_err(|error| anyhow!("{error}"))?;
    let config: Value = serde_json::from_slice(files.config.as_deref().unwrap_or_default())?;
    let added = config["added_tokens_decoder"].as_object().into_iter().flatten();
    let mut added: Vec<(u32, &str)> =
        added.filter_map(|(id, token)| Some((id.parse().ok()?, token["content"].as_str()?))).collect();
    added.sort_unstable();
    let tokens: Vec<AddedToken> = added.iter().map(|(_, content)| AddedToken::from(*content, true)).collect();
    tokenizer.add_special_tokens(tokens).map_err(|error| anyhow!("{error}"))?;
    Ok(tokenizer)
}

/// A warm case over and over.
pub(crate) fn profile(times: usize, tokens: usize, unknown: bool) -> anyhow::Result<()> {
    let files = if unknown { without_proof(qwen2_5())? } else { qwen2_5().clone() };
    let known = PromptEncoder::from_files(&files, EncoderPreference::Fastest)?;
    let texts = Texts::new();
    let mut random = Rng::with_seed(3);
    let cache = cache();
    let history = texts.conversation(&mut random, tokens);
    hashes(&known, &body(&history), &cache)?;
    // Made before, so that there is little else to see.
    let mut longer = || body(&[&history[..], &texts.turn(&mut random)].concat());
    let bodies: Vec<Bytes> = (0..times).map(|_| longer()).collect();
    let mut all = Samples::default();
    for body in &bodies {
        let body = &Bytes::copy_from_slice(body);
        let (time, found) = timed(|| hashes(&known, body, &cache));
        black_box(found?);
        all.push(time);
    }
    println!("# p50 {:.1} us, p90 {:.1}", all.p50() / 1e3, all.quantile(0.9) / 1e3);
    Ok(())
}

struct Bench {
    trials: usize,
    texts: Texts,
    reference: Tokenizer,
    style: Style,
}

impl Bench {
    fn against_reference(
        &self,
        name: &str,
        encoder: &PromptEncoder,
        tokens: usize,
        history: History,
    ) -> anyhow::Result<()> {
        let mut random = Rng::with_seed(tokens as u64);
        let cache = cache();
        let mut messages = self.texts.conversation(&mut random, tokens);
        drop(hashes(encoder, &body(&messages), &cache)?);
        // All made before: whoever makes a body in between has filled the processor's caches with it.
        let mut prompts = Vec::with_capacity(self.trials);
        for _ in 0..self.trials {
            if history == History::New {
                messages = self.texts.conversation(&mut random, tokens);
            }
            let longer = [&messages[..], &self.texts.turn(&mut random)].concat();
            prompts.push((body(&longer), self.style.rendered(&longer)));
        }
        let (mut ours, mut theirs) = (Samples::default(), Samples::default());
        let (mut count, mut reused) = (0, 0);
        for (trial, (body, text)) in prompts.iter().enumerate() {
            // As it comes from a socket.
            let body = &Bytes::copy_from_slice(body);
            let (time, found) = timed(|| hashes(encoder, body, &cache));
            let found = found?;
            ours.push(time);
            (count, reused) = (found.tokens, found.reused);
            if trial % OURS_TO_THEIRS > 0 {
                continue;
            }
            let (time, ids) = timed(|| self.reference.encode_fast(black_box(text.as_str()), false));
            let ids = ids.map_err(|error| anyhow!("{error}"))?;
            theirs.push(time);
            if trial == 0 {
                let whole = encoder.token_ids(&Body::read(Api::ChatCompletions, body.clone())?)?;
                ensure!(whole.ids == ids.get_ids(), "{name}: other ids than the reference");
                ensure!(
                    found.blocks == block_hashes(&whole, cache.key(), HASHING).blocks,
                    "{name}: other hashes"
                );
            }
        }
        println!(
            "# {name}: {count} tokens, {reused} known; ours p50 {:.1} us, p90 {:.1}; tokenizers {:.0} us",
            ours.p50() / 1e3,
            ours.quantile(0.9) / 1e3,
            theirs.p50() / 1e3,
        );
        print(name, theirs.p50() / ours.p50(), "x");
        Ok(())
    }
}

fn cache() -> PromptCache {
    PromptCache::new(CACHE_BYTES, HashKey::new([7; 32]))
}

/// All that the proxy does with a body before it decides.
fn hashes(encoder: &PromptEncoder, body: &Bytes, cache: &PromptCache) -> anyhow::Result<PromptHashes> {
    let body = cache.read(Api::ChatCompletions, body.clone())?;
    black_box(body.routing_fields()?);
    Ok(encoder.block_hashes(&body, HASHING, cache)?)
}

/// CPU time of this thread, and the result.
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let started = thread_cpu();
    let result = work();
    (thread_cpu() - started, result)
}
