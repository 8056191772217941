//! What the cache keeps of prompts of which no two are alike.

use anyhow::Context;
use bytes::Bytes;
use fastrand::Rng;
use rankwise_core::hash::{HashKey, Namespace};
use rankwise_core::ids::BlockSize;
use rankwise_prompt::test_support::qwen2_5;
use rankwise_prompt::{Api, EncoderPreference, Hashing, PromptCache, PromptEncoder};
use serde_json::json;

use crate::targets::print;
use crate::texts::{Texts, body};

const BUDGET: usize = 256 << 20;
const MIB: f64 = (1 << 20) as f64;

pub(crate) fn run(prompts: u32) -> anyhow::Result<()> {
    let encoder = PromptEncoder::from_files(qwen2_5(), EncoderPreference::Fastest)?;
    let texts = Texts::new();
    let cache = PromptCache::new(BUDGET, HashKey::new([7; 32]));
    let mut random = Rng::with_seed(5);
    // Made before, as the machine's time is better spent on what is measured; each is made unique by its number.
    let stems: Vec<[String; 2]> =
        (0..64).map(|_| [1200, 800].map(|bytes| texts.text(&mut random, bytes))).collect();
    let start = resident()?;
    let (mut most, mut settled, mut last) = (0, None, 0);
    for number in 0..prompts {
        let [system, question] = &stems[number as usize % stems.len()];
        let body = body(&[
            json!({"role": "system", "content": format!("{number} {system}")}),
            json!({"role": "user", "content": format!("{question} {number}")}),
        ]);
        remember(&encoder, body, &cache)?;
        most = most.max(cache_bytes(&cache, number));
        if (number + 1) % (prompts / 10).max(1) == 0 {
            last = resident()?.saturating_sub(start);
            let report = cache.report();
            println!(
                "# after {} prompts: {} entries, {:.1} MiB counted, {:.1} MiB resident beyond the tokenizer",
                number + 1,
                report.entries,
                report.bytes as f64 / MIB,
                last as f64 / MIB
            );
            // By then it has long been full.
            if number + 1 >= prompts / 2 {
                settled.get_or_insert(last);
            }
        }
    }
    print("cache_over_budget", most as f64 / BUDGET as f64, "x");
    print("rss_over_budget", last as f64 / BUDGET as f64, "x");
    print("rss_growth_mib", (last as f64 - settled.unwrap_or(last) as f64) / MIB, "MiB");
    Ok(())
}

fn remember(encoder: &PromptEncoder, body: Bytes, cache: &PromptCache) -> anyhow::Result<()> {
    let body = cache.read(Api::ChatCompletions, body)?;
    let hashing = Hashing { namespace: Namespace(1), sizes: &[BlockSize(16)] };
    encoder.block_hashes(&body, hashing, cache)?;
    Ok(())
}

/// What is counted, now and then: asking walks all of it.
fn cache_bytes(cache: &PromptCache, number: u32) -> usize {
    if number % 64 == 0 { cache.report().bytes } else { 0 }
}

/// Memory of this process that is in RAM, bytes.
fn resident() -> anyhow::Result<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = pages.split(' ').nth(1).context("statm: expected two numbers")?.parse()?;
    Ok(pages * rustix::param::page_size())
}
