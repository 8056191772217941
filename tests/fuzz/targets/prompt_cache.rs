//! Conversations that grow and part: what a cache remembers of their bodies changes no hash.

#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rankwise_core::hash::{HashKey, Namespace};
use rankwise_core::ids::BlockSize;
use rankwise_prompt::{
    Api, Body, Dialect, EncoderPreference, Hashing, PromptCache, PromptEncoder, block_hashes, test_support,
};
use serde_json::{Value, json};

const HASHING: Hashing<'static> = Hashing { namespace: Namespace(1), sizes: &[BlockSize(4), BlockSize(16)] };

/// Of each template whose conversations are continued in another way.
static FASTEST: LazyLock<[PromptEncoder; 3]> = LazyLock::new(|| encoders(EncoderPreference::Fastest));
static REFERENCE: LazyLock<[PromptEncoder; 3]> = LazyLock::new(|| encoders(EncoderPreference::Reference));

fn encoders(preference: EncoderPreference) -> [PromptEncoder; 3] {
    [test_support::qwen2_5().clone(), test_support::qwen3(), test_support::deepseek_v3()]
        .map(|files| PromptEncoder::from_files(&files, preference).expect("a tokenizer"))
}

/// Each part of the input one more message; its first byte says who speaks, how long it is made and where the conversation goes on, an
/// assistant's second one what stands beside the content.
fn bodies(input: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let mut messages: Vec<Value> = Vec::new();
    input.split(|byte| *byte == 0xff).take(12).map(move |part| {
        let (how, text) = part.split_first().map_or((0, part), |(how, text)| (*how, text));
        let text = String::from_utf8_lossy(text);
        messages.truncate(if how & 8 == 0 { messages.len() } else { messages.len() / 2 });
        let role = ["user", "assistant", "system", "tool"][usize::from(how & 3)];
        let content = text.repeat(if how & 4 == 0 { 1 } else { 1 + 1500 / text.len().max(1) });
        let mut message = json!({"role": role, "content": content});
        let beside = if role == "assistant" { text.bytes().next().unwrap_or_default() } else { 0 };
        match beside & 3 {
            1 => message["reasoning_content"] = json!(text),
            2 => message["tool_calls"] = json!([{"type": "function", "function": {"name": "f", "arguments": "{}"}}]),
            3 => message["content"] = json!(format!("<think>{text}</think>{content}")),
            _ => {}
        }
        messages.push(message);
        let mut body = json!({"model": "m", "messages": messages});
        if how & 16 != 0 {
            body["stream"] = json!(true);
        }
        if how & 32 != 0 {
            body["add_generation_prompt"] = json!(false);
        }
        if how & 64 != 0 {
            body["tools"] = json!([{"type": "function", "function": {"name": "f", "description": text}}]);
        }
        if beside & 4 != 0 {
            body["chat_template_kwargs"] = json!({"enable_thinking": false});
        }
        let body = if how & 128 == 0 { body.to_string() } else { format!("{body:#}") };
        body.into_bytes()
    })
}

fuzz_target!(init: { LazyLock::force(&FASTEST); LazyLock::force(&REFERENCE); }, |input: &[u8]| {
    let cache = PromptCache::new(1 << 20, HashKey::new([3; 32]));
    // The input itself, too: whatever it is, the cache is not to notice.
    for body in bodies(input).chain([input.to_vec()]) {
        let body = Bytes::from(body);
        let plain = Body::read(Api::ChatCompletions, body.clone());
        let known = cache.read(Api::ChatCompletions, body);
        assert_eq!(plain.is_ok(), known.is_ok());
        let (Ok(plain), Ok(known)) = (plain, known) else { continue };
        // The first byte says which engine's way is followed.
        let dialect = if input.first().is_some_and(|byte| byte & 64 != 0) { Dialect::Sglang } else { Dialect::Vllm };
        let (plain, known) = (plain.for_engine(dialect), known.for_engine(dialect));
        for (fastest, reference) in FASTEST.iter().zip(REFERENCE.iter()) {
            let ids = reference.token_ids(&plain);
            assert_eq!(fastest.token_ids(&plain), ids);
            for _ in 0..2 {
                let found = fastest.block_hashes(&known, HASHING, &cache);
                match &ids {
                    Ok(ids) => {
                        let (found, right) = (found.expect("as without"), block_hashes(ids, cache.key(), HASHING));
                        assert_eq!((found.tokens, &found.blocks), (right.tokens, &right.blocks));
                    }
                    Err(error) => assert_eq!(found.map(drop), Err(error.clone())),
                }
            }
        }
    }
});
