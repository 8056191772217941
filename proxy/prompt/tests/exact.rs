//! Ids are those of Hugging Face tokenizers and texts those of jinja2, with the cache and without, on texts made to find a difference.
//!
//! In plain tests on Qwen2.5's tokenizer; `.ci/extra` fetches more tokenizers and runs the ignored ones on all.

#![allow(clippy::unwrap_used, reason = "a test, helpers and all")]

use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rankwise_core::hash::{HashKey, Namespace};
use rankwise_core::ids::BlockSize;
use rankwise_prompt::{
    Api, Body, Dialect, EncoderPreference, Hashing, PromptCache, PromptEncoder, PromptIds, TokenizerFiles,
    block_hashes,
};
use serde_json::{Value, json};

const HASHING: Hashing<'static> = Hashing { namespace: Namespace(1), sizes: &[BlockSize(4)] };
const ATOMS: [&str; 40] = [
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\n\n",
    " \n ",
    "\u{a0}",
    "\u{3000}",
    "\u{1c}",
    "\u{85}",
    "\u{feff}",
    "\u{200d}",
    "\0",
    "'s",
    "'LL",
    "'",
    "’t",
    "a",
    "A",
    "Hello",
    "world",
    "ſ",
    "e\u{301}",
    "\u{301}",
    "ﬁ",
    "Å",
    "Привет",
    "今天",
    "いい",
    "한국어",
    "مرحبا",
    "नमस्ते",
    "ไทย",
    "😀",
    "👨\u{200d}👩",
    "12345",
    "½",
    "...",
    "<|",
];

/// One text: mostly atoms and added tokens side by side, some random characters, some long repeats.
fn text(random: &mut fastrand::Rng, added: &[String]) -> String {
    let mut text = String::new();
    match random.u32(..20) {
        0 => {
            let atom = ATOMS[random.usize(..ATOMS.len())];
            text.push_str(&atom.repeat(random.usize(1..400)));
        }
        1 | 2 => (0..random.usize(1..30)).for_each(|_| text.extend(char::from_u32(random.u32(..0x3_0000)))),
        kind => {
            for _ in 0..random.usize(1..24) {
                if kind < 10 && !added.is_empty() && random.u32(..4) == 0 {
                    text.push_str(&added[random.usize(..added.len())]);
                }
                text.push_str(ATOMS[random.usize(..ATOMS.len())]);
            }
        }
    }
    text
}

/// A long text with places to cut at, which begins as others do.
fn stem(random: &mut fastrand::Rng, added: &[String]) -> String {
    let number = random.usize(..4);
    let special = added.first().map(String::as_str).unwrap_or_default();
    (0..40)
        .map(|at| format!("stem {number} paragraph {at}: naïve 今天 text that goes on.{special}\n"))
        .collect()
}

/// Checks what the cache makes of a body whose ids are `right`; how many tokens it saved.
fn hashes_are_exact(
    encoder: &PromptEncoder,
    api: Api,
    body: &str,
    right: &[u32],
    cache: &PromptCache,
) -> u32 {
    let read = cache.read(api, Bytes::copy_from_slice(body.as_bytes())).unwrap();
    let found = encoder.block_hashes(&read, HASHING, cache).unwrap();
    let right = PromptIds::of_text(right.to_vec(), false);
    assert_eq!(found.blocks, block_hashes(&right, cache.key(), HASHING).blocks, "{body}");
    found.reused
}

/// Compares `cases` texts, some behind a stem that others have too.
fn ids_are_exact(files: &TokenizerFiles, cases: usize) {
    let json: Value = serde_json::from_slice(&files.tokenizer).unwrap();
    let added: Vec<String> = json["added_tokens"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|token| token["content"].as_str().unwrap().to_owned())
        .collect();
    let reference = tokenizers::Tokenizer::from_bytes(&files.tokenizer).unwrap();
    let encoder = PromptEncoder::from_files(files, EncoderPreference::Fastest).unwrap();
    println!("{:?}, reuse {:?}", encoder.encoder(), encoder.reuse());
    let cache = PromptCache::new(8 << 20, HashKey::new([5; 32]));
    let mut random = fastrand::Rng::with_seed(11);
    let mut reused = 0;
    for case in 0..cases {
        let mut text = text(&mut random, &added);
        if case % 4 == 0 {
            text.insert_str(0, &stem(&mut random, &added));
        }
        let right = reference.encode_fast(text.as_str(), false).unwrap().get_ids().to_vec();
        let body = json!({"model": "m", "prompt": text, "add_special_tokens": false}).to_string();
        let plain = Body::read(Api::Completions, Bytes::from(body.clone())).unwrap();
        assert_eq!(encoder.token_ids(&plain).unwrap().ids, right, "{text:?}");
        reused += hashes_are_exact(&encoder, Api::Completions, &body, &right, &cache);
    }
    assert!(reused > 0, "the cache was never used");
}

/// What else a message of the assistant's may have, most often nothing.
fn beside(random: &mut fastrand::Rng, message: &mut Value) {
    match random.u32(..8) {
        0 => message["reasoning_content"] = json!("\nhm "),
        1 => {
            let said = message["content"].as_str().unwrap_or_default();
            message["content"] = json!(format!("<think>\nhm\n</think>\n\n{said}"));
        }
        2 => {
            message["tool_calls"] =
                json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}])
        }
        _ => {}
    }
}

/// Random conversations that are continued, branched and cut back, as either engine reads them: what the cache remembers gives the
/// reference's ids of the text that is rendered without it.
fn conversations_are_exact(files: &TokenizerFiles, turns: usize) {
    let encoder = PromptEncoder::from_files(files, EncoderPreference::Fastest).unwrap();
    let slow = PromptEncoder::from_files(files, EncoderPreference::Reference).unwrap();
    let cache = PromptCache::new(8 << 20, HashKey::new([5; 32]));
    let mut random = fastrand::Rng::with_seed(12);
    let mut open: Vec<Vec<Value>> = vec![Vec::new(); 6];
    let (mut reused, mut continued) = (0, 0);
    for turn in 0..turns {
        let at = random.usize(..open.len());
        let other = open[random.usize(..open.len())].clone();
        let messages = &mut open[at];
        match random.u32(..12) {
            0 => messages.clear(),
            _ if messages.len() > 16 => messages.truncate(3),
            1 => messages.truncate(messages.len() / 2),
            2 => *messages = other,
            _ => {}
        }
        for _ in 0..random.usize(1..3) {
            let role = match (messages.len().is_multiple_of(2), random.u32(..12)) {
                (_, 0) => "system",
                (_, 1) => "tool",
                (true, _) => "user",
                (false, _) => "assistant",
            };
            let mut content = text(&mut random, &[]);
            if random.bool() {
                content +=
                    &format!("paragraph {}: naïve 今天 text. ", random.u32(..9)).repeat(random.usize(..60));
            }
            let mut message = json!({"role": role, "content": content});
            if role == "assistant" {
                beside(&mut random, &mut message);
            }
            messages.push(message);
        }
        let mut body = json!({"model": "m", "messages": messages, "stream": turn % 2 == 0});
        if random.u32(..6) == 0 {
            body["chat_template_kwargs"] = json!({"enable_thinking": false});
        }
        let dialect = if at.is_multiple_of(2) { Dialect::Vllm } else { Dialect::Sglang };
        let body = body.to_string();
        let plain = Body::read(Api::ChatCompletions, Bytes::from(body.clone())).unwrap().for_engine(dialect);
        // A template may refuse an order of roles.
        let Ok(right) = slow.token_ids(&plain) else { continue };
        assert_eq!(encoder.token_ids(&plain).unwrap(), right);
        let read = cache.read(Api::ChatCompletions, Bytes::from(body.clone())).unwrap().for_engine(dialect);
        continued += usize::from(encoder.continue_body(&read, HASHING, &cache).unwrap().is_some());
        let found = encoder.block_hashes(&read, HASHING, &cache).unwrap();
        assert_eq!(found.blocks, block_hashes(&right, cache.key(), HASHING).blocks, "{dialect:?} {body}");
        reused += found.reused;
    }
    println!("{continued} of {turns} continued without their template, {reused} tokens reused");
    assert!(reused > 0 && continued > 0, "the cache was never used");
}

/// Qwen2.5's tokenizer and template in tests/data.
fn qwen2_5() -> TokenizerFiles {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/qwen2.5");
    let packed = std::fs::File::open(folder.join("tokenizer.json.gz")).unwrap();
    let mut tokenizer = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut tokenizer).unwrap();
    let config = std::fs::read(folder.join("tokenizer_config.json")).unwrap();
    TokenizerFiles { tokenizer, config: Some(config), chat_template: None }
}

#[test]
fn qwen2_5_on_some() {
    ids_are_exact(&qwen2_5(), 800);
    conversations_are_exact(&qwen2_5(), 60);
}

/// The folder of a tokenizer that `.ci/extra` has fetched.
fn fetched(name: &str) -> PathBuf {
    Path::new(&std::env::var("RANKWISE_TOKENIZERS").expect("RANKWISE_TOKENIZERS: set by .ci/extra"))
        .join(name)
}

fn twenty_thousand(name: &str) {
    let files = TokenizerFiles::read(&fetched(name)).unwrap();
    ids_are_exact(&files, 20_000);
}

#[test]
#[ignore = "needs tokenizers that .ci/extra fetches"]
fn conversations_with_every_fetched_tokenizer() {
    for name in ["qwen2_5", "qwen3", "deepseek_v3"] {
        conversations_are_exact(&TokenizerFiles::read(&fetched(name)).unwrap(), 500);
    }
}

#[test]
#[ignore = "needs tokenizers that .ci/extra fetches"]
fn qwen2_5_on_twenty_thousand() {
    twenty_thousand("qwen2_5");
}

#[test]
#[ignore = "needs tokenizers that .ci/extra fetches"]
fn qwen3_on_twenty_thousand() {
    twenty_thousand("qwen3");
}

#[test]
#[ignore = "needs tokenizers that .ci/extra fetches"]
fn deepseek_v3_on_twenty_thousand() {
    twenty_thousand("deepseek_v3");
}

/// What `.ci/extra` had jinja2 render: the chat's ids must be those of that text.
#[test]
#[ignore = "needs tokenizers and texts that .ci/extra makes"]
fn every_fetched_template_as_jinja2_renders_it() {
    let cases = std::fs::read_to_string(fetched("rendered.jsonl")).unwrap();
    assert!(cases.lines().count() > 30);
    for name in ["qwen2_5", "qwen3", "deepseek_v3"] {
        let encoder = PromptEncoder::load(&fetched(name)).unwrap();
        let cache = PromptCache::new(8 << 20, HashKey::new([5; 32]));
        let ids = |api, body: &Value| {
            let body = Body::read(api, Bytes::from(body.to_string()))?;
            encoder.token_ids(&body).map(|prompt| prompt.ids)
        };
        let cases = cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        for case in cases.filter(|case| case["tokenizer"] == name) {
            let chat = ids(Api::ChatCompletions, &case["body"]);
            let Some(rendered) = case["rendered"].as_str() else {
                assert!(chat.is_err(), "{name}: {}: jinja2 fails", case["name"]);
                continue;
            };
            let text = json!({"model": "m", "prompt": rendered, "add_special_tokens": false});
            let right = ids(Api::Completions, &text).unwrap();
            assert_eq!(chat.as_ref(), Ok(&right), "{name}: {}", case["name"]);
            for _ in 0..2 {
                hashes_are_exact(&encoder, Api::ChatCompletions, &case["body"].to_string(), &right, &cache);
            }
        }
    }
}
