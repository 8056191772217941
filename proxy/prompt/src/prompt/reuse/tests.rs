use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;
use rankwise_core::hash::{HashKey, Namespace};
use rankwise_core::ids::BlockSize;
use serde_json::{Value, json};

use crate::test_support::{deepseek_v3, qwen2_5, qwen3};
use crate::{
    Api, Body, BodyError, Dialect, EncoderPreference, Hashing, PromptCache, PromptEncoder, PromptHashes,
    Reuse, TokenizerFiles, block_hashes,
};

static QWEN: LazyLock<PromptEncoder> =
    LazyLock::new(|| PromptEncoder::from_files(qwen2_5(), EncoderPreference::Fastest).unwrap());

static QWEN3: LazyLock<PromptEncoder> =
    LazyLock::new(|| PromptEncoder::from_files(&qwen3(), EncoderPreference::Fastest).unwrap());

static DEEPSEEK: LazyLock<PromptEncoder> =
    LazyLock::new(|| PromptEncoder::from_files(&deepseek_v3(), EncoderPreference::Fastest).unwrap());

/// The same tokenizer with a template whose earlier text changes when messages are appended.
static OTHER: LazyLock<PromptEncoder> = LazyLock::new(|| {
    let template = "{% for m in messages %}<|im_start|>{{ m.role }}{{ messages|length if loop.first }}\n{{ m.content|trim }}<|im_end|>\n{% endfor %}";
    let files = TokenizerFiles { chat_template: Some(template.to_owned()), ..qwen2_5().clone() };
    PromptEncoder::from_files(&files, EncoderPreference::Fastest).unwrap()
});

const HASHING: Hashing<'static> = hashing(&[BlockSize(16), BlockSize(5)]);

const fn hashing(sizes: &[BlockSize]) -> Hashing<'_> {
    Hashing { namespace: Namespace(1), sizes }
}

fn cache(bytes_max: usize) -> PromptCache {
    PromptCache::new(bytes_max, HashKey::new([3; 32]))
}

/// Checks that the cache changes nothing, and tells how many tokens it saved.
fn check(encoder: &PromptEncoder, api: Api, body: &Bytes, cache: &PromptCache) -> u32 {
    check_as(Dialect::Vllm, encoder, api, body, cache)
}

fn check_as(dialect: Dialect, encoder: &PromptEncoder, api: Api, body: &Bytes, cache: &PromptCache) -> u32 {
    let read = cache.read(api, body.clone()).unwrap().for_engine(dialect);
    let found = encoder.block_hashes(&read, HASHING, cache);
    let right = plain_as(dialect, encoder, api, body, cache.key());
    match (found, right) {
        (Ok(found), Ok(right)) => {
            let reused = found.reused;
            assert_eq!(PromptHashes { reused: 0, ..found }, right, "{}", String::from_utf8_lossy(body));
            reused
        }
        (found, right) => {
            assert_eq!(found.map(drop), right.map(drop));
            0
        }
    }
}

fn cached(
    encoder: &PromptEncoder,
    api: Api,
    body: &Bytes,
    cache: &PromptCache,
) -> Result<PromptHashes, BodyError> {
    encoder.block_hashes(&cache.read(api, body.clone())?, HASHING, cache)
}

/// Without any cache.
fn plain(encoder: &PromptEncoder, api: Api, body: &Bytes, key: &HashKey) -> Result<PromptHashes, BodyError> {
    plain_as(Dialect::Vllm, encoder, api, body, key)
}

fn plain_as(
    dialect: Dialect,
    encoder: &PromptEncoder,
    api: Api,
    body: &Bytes,
    key: &HashKey,
) -> Result<PromptHashes, BodyError> {
    let ids = encoder.token_ids(&Body::read(api, body.clone())?.for_engine(dialect))?;
    Ok(block_hashes(&ids, key, HASHING))
}

fn text(words: usize, salt: usize) -> String {
    (0..words).map(|at| format!("word{} naïve 今天 ", (at * 7 + salt) % 97)).collect()
}

fn chat(messages: &[Value], extra: &Value) -> Bytes {
    let mut body = json!({"model": "m", "messages": messages});
    for (name, value) in extra.as_object().unwrap() {
        body[name] = value.clone();
    }
    Bytes::from(body.to_string())
}

fn turns(count: usize) -> Vec<Value> {
    let role = |at: usize| if at.is_multiple_of(2) { "user" } else { "assistant" };
    (0..count).map(|at| json!({"role": role(at), "content": text(40, at)})).collect()
}

#[test]
fn what_can_be_reused_is_known() {
    for encoder in [&QWEN, &QWEN3, &DEEPSEEK] {
        assert_eq!(encoder.reuse(), Reuse::Bodies);
    }
    assert!(matches!(OTHER.reuse(), Reuse::Texts { .. }), "{:?}", OTHER.reuse());
}

#[test]
fn a_next_turn_costs_its_own_tokens() {
    for encoder in [&*QWEN, &*QWEN3, &*DEEPSEEK] {
        let cache = cache(1 << 24);
        let first = chat(&turns(41), &json!({}));
        assert_eq!(check(encoder, Api::ChatCompletions, &first, &cache), 0);
        let next = chat(&turns(43), &json!({"stream": true}));
        let total = plain(encoder, Api::ChatCompletions, &next, cache.key()).unwrap().tokens;
        let read = cache.read(Api::ChatCompletions, next.clone()).unwrap();
        assert!(encoder.continue_body(&read, HASHING, &cache).unwrap().is_some(), "without its template");
        let reused = check(encoder, Api::ChatCompletions, &next, &cache);
        assert!(reused > total * 9 / 10, "{reused} of {total}");
        // And the one after it, from what the second left.
        assert!(check(encoder, Api::ChatCompletions, &chat(&turns(61), &json!({})), &cache) > total * 9 / 10);
    }
}

/// Reasoning of earlier turns, which the template takes out, is no obstacle; what cannot be continued is rendered.
#[test]
fn turns_with_reasoning_are_continued_where_it_is_exact() {
    let thought = |at: usize| format!("<think>\nhm {at}\n</think>\n\n{}", text(40, at));
    let reasoned = |mut messages: Vec<Value>, beside: bool| {
        for (at, message) in messages.iter_mut().enumerate().filter(|(at, _)| at % 2 == 1) {
            match beside {
                true => message["reasoning_content"] = json!(format!("hm {at}")),
                false => message["content"] = json!(thought(at)),
            }
        }
        messages
    };
    for encoder in [&*QWEN3, &*DEEPSEEK] {
        for beside in [true, false] {
            for settings in [json!({}), json!({"chat_template_kwargs": {"enable_thinking": false}})] {
                let cache = cache(1 << 24);
                let continues = |messages: &[Value]| {
                    let body = chat(messages, &settings);
                    let read = cache.read(Api::ChatCompletions, body.clone()).unwrap();
                    let continued = encoder.continue_body(&read, HASHING, &cache).unwrap();
                    let right = plain(encoder, Api::ChatCompletions, &body, cache.key()).unwrap();
                    if let Some(found) = &continued {
                        assert_eq!(found.blocks, right.blocks);
                    }
                    check(encoder, Api::ChatCompletions, &body, &cache);
                    continued.is_some()
                };
                let messages = |count| reasoned(turns(count), beside);
                assert!(!continues(&messages(21)));
                assert!(continues(&messages(23)));
                let prefilled = [&messages(23)[..], &[json!({"role": "assistant", "content": "a"})]].concat();
                // Behind the last query Qwen3 shows reasoning.
                assert_eq!(continues(&prefilled), std::ptr::eq(encoder, &*DEEPSEEK));
                assert!(continues(&messages(25)));
                let system = [
                    &messages(25)[..],
                    &[json!({"role": "system", "content": "s"}), json!({"role": "user", "content": "u"})],
                ]
                .concat();
                // DeepSeek moves it to the front.
                assert_eq!(continues(&system), std::ptr::eq(encoder, &*QWEN3));
            }
        }
    }
}

#[test]
fn any_template_reuses_its_text() {
    let cache = cache(1 << 24);
    let same_length = |last: &str| {
        let mut messages = turns(20);
        messages[19] = json!({"role": "user", "content": last});
        chat(&messages, &json!({}))
    };
    check(&OTHER, Api::ChatCompletions, &same_length("a"), &cache);
    assert!(check(&OTHER, Api::ChatCompletions, &same_length("b"), &cache) > 1000);
    // The first line has changed with the number of messages.
    assert_eq!(check(&OTHER, Api::ChatCompletions, &chat(&turns(22), &json!({})), &cache), 0);
    let prompt = |end: &str| {
        let text = format!("{}<|im_end|>\n<|im_start|>user\n{end}", text(400, 1));
        Bytes::from(json!({"model": "m", "prompt": text}).to_string())
    };
    check(&OTHER, Api::Completions, &prompt("a"), &cache);
    assert!(check(&OTHER, Api::Completions, &prompt("b"), &cache) > 400);
}

/// What is printed behind the messages depends on fields that each API has of its own.
#[test]
fn apis_are_kept_apart() {
    let cache = cache(1 << 24);
    let more = |extra: Value| {
        let mut body = extra;
        body["max_tokens"] = json!(9);
        body
    };
    for count in [21, 23, 25] {
        let without_thinking = chat(&turns(count), &more(json!({"thinking": {"type": "disabled"}})));
        check(&QWEN3, Api::Messages, &without_thinking, &cache);
        let reused = check(&QWEN3, Api::ChatCompletions, &chat(&turns(count), &more(json!({}))), &cache);
        assert_eq!(reused > 0, count > 21);
    }
}

/// A last message of the assistant's is another to SGLang than the same in the middle: neither is taken for the other.
#[test]
fn what_sglang_makes_of_the_last_message_is_not_appended_to() {
    for encoder in [&*QWEN, &*QWEN3, &*DEEPSEEK] {
        let cache = cache(1 << 24);
        let mut reused = 0;
        for count in [20, 22, 21, 23, 22, 24, 20, 25] {
            for settings in [
                json!({}),
                json!({"continue_final_message": true}),
                json!({"tool_choice": "none", "tools": []}),
            ] {
                let body = chat(&turns(count), &settings);
                reused += check_as(Dialect::Sglang, encoder, Api::ChatCompletions, &body, &cache);
            }
        }
        assert!(reused > 0);
    }
}

#[test]
fn settings_are_kept_apart() {
    let cache = cache(1 << 24);
    let tool = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let settings = [
        json!({}),
        json!({"tools": tool}),
        json!({"cache_salt": "a"}),
        json!({"cache_salt": "b"}),
        json!({"add_generation_prompt": false}),
        json!({"continue_final_message": true, "add_generation_prompt": false}),
        json!({"truncate_prompt_tokens": 50}),
        json!({"add_special_tokens": true}),
        json!({"chat_template": "x"}),
        json!({"add_generation_prompt": 3}),
        json!({"messages": turns(3)}),
    ];
    for count in [30, 32, 33] {
        for settings in &settings {
            check(&QWEN, Api::ChatCompletions, &chat(&turns(count), settings), &cache);
        }
    }
    let body = |salt: &str| chat(&turns(30), &json!({"cache_salt": salt}));
    assert!(check(&QWEN, Api::ChatCompletions, &body("a"), &cache) > 0);
    assert_eq!(check(&QWEN, Api::ChatCompletions, &body("c"), &cache), 0);
}

/// A template may look at any setting before its messages, even at what is commonly looked at behind them.
#[test]
fn settings_are_kept_apart_where_a_template_begins_with_them() {
    let template = "{% if add_generation_prompt %}<|im_start|>x{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
    let files = TokenizerFiles { chat_template: Some(template.to_owned()), ..qwen2_5().clone() };
    let encoder = PromptEncoder::from_files(&files, EncoderPreference::Fastest).unwrap();
    assert_eq!(encoder.reuse(), Reuse::Bodies);
    let cache = cache(1 << 24);
    for count in [31, 33, 35] {
        for asked in [true, false] {
            let body = chat(&turns(count), &json!({"add_generation_prompt": asked}));
            let reused = check(&encoder, Api::ChatCompletions, &body, &cache);
            assert_eq!(reused > 0, count > 31, "{count} {asked}");
        }
    }
}

#[test]
fn encoders_and_block_sizes_are_kept_apart() {
    let cache = cache(1 << 24);
    let body = chat(&turns(20), &json!({}));
    for _ in 0..2 {
        check(&QWEN, Api::ChatCompletions, &body, &cache);
        check(&OTHER, Api::ChatCompletions, &body, &cache);
    }
    let read = cache.read(Api::ChatCompletions, body).unwrap();
    for sizes in [&[BlockSize(16)][..], &[BlockSize(5), BlockSize(16)], &[BlockSize(64)]] {
        let right = block_hashes(&QWEN.token_ids(&read).unwrap(), cache.key(), hashing(sizes));
        let found = QWEN.block_hashes(&read, hashing(sizes), &cache).unwrap();
        assert_eq!(found.blocks, right.blocks);
    }
}

#[test]
fn namespaces_are_kept_apart() {
    let cache = cache(1 << 24);
    let body = chat(&turns(20), &json!({}));
    let mut seen = Vec::new();
    for namespace in [1, 2, 1].map(Namespace) {
        let hashing = Hashing { namespace, ..HASHING };
        let found = cached_in(&QWEN, &body, hashing, &cache);
        let right = block_hashes(
            &QWEN.token_ids(&Body::read(Api::ChatCompletions, body.clone()).unwrap()).unwrap(),
            cache.key(),
            hashing,
        );
        assert_eq!(found.blocks, right.blocks);
        seen.push((found.reused > 0, found.blocks));
    }
    assert!(!seen[1].0 && seen[2].0, "what is another namespace's is not reused");
    assert_ne!(seen[0].1, seen[1].1);
}

fn cached_in(
    encoder: &PromptEncoder,
    body: &Bytes,
    hashing: Hashing<'_>,
    cache: &PromptCache,
) -> PromptHashes {
    let body = cache.read(Api::ChatCompletions, body.clone()).unwrap();
    encoder.block_hashes(&body, hashing, cache).unwrap()
}

#[test]
fn memory_stays_within_its_budget() {
    const BUDGET: usize = 200_000;
    let cache = cache(BUDGET);
    let mut most = 0;
    for at in 0..300 {
        let mut messages = turns(4);
        messages[0]["content"] = json!(format!("{at} {}", text(30, at)));
        let body = chat(&messages, &json!({}));
        cached(&QWEN, Api::ChatCompletions, &body, &cache).unwrap();
        most = most.max(cache.report().bytes);
    }
    // Put first, then made room for.
    assert!(most <= BUDGET, "{most}");
    assert!(cache.report().entries > 20, "{:?}", cache.report());
    let none = self::cache(0);
    check(&QWEN, Api::ChatCompletions, &chat(&turns(9), &json!({})), &none);
    assert_eq!((none.report().entries, none.report().bytes), (0, 0));
}

#[test]
fn a_conversation_in_use_outlives_others() {
    let cache = cache(300_000);
    check(&QWEN, Api::ChatCompletions, &chat(&turns(20), &json!({})), &cache);
    let mut lost = 0;
    for at in 0..150 {
        let body = chat(
            &[
                json!({"role": "user", "content": text(300, at)}),
                json!({"role": "user", "content": format!("{at}")}),
            ],
            &json!({"seed": at}),
        );
        cached(&QWEN, Api::ChatCompletions, &body, &cache).unwrap();
        if at % 10 == 0 {
            let reused = check(&QWEN, Api::ChatCompletions, &chat(&turns(21), &json!({})), &cache);
            lost += usize::from(reused == 0);
        }
    }
    // Which shards give way together is up to the key.
    assert!(lost <= 2, "{lost} of 15 times");
}

fn message() -> impl Strategy<Value = Value> {
    let content = prop_oneof![
        3 => (0usize..60, 0usize..9).prop_map(|(words, salt)| json!(text(words, salt))),
        2 => "(<\\|im_end\\|>|<\\|im_start\\|>user\n|<tool_call>|<think>|</think>|<tool_response>|</tool_response>|<｜User｜>|[a \n']|\\PC){0,30}".prop_map(|text| json!(text)),
        1 => ".{0,20}".prop_map(|text| json!([{"type": "text", "text": text}, {"type": "text", "text": "x"}])),
        1 => Just(json!(null)),
    ];
    let call = json!([{"type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]);
    (content, "system|user|user|user|assistant|assistant|assistant|tool", any::<[bool; 3]>()).prop_map(
        move |(content, role, [calls, more, reasons])| {
            let mut message = json!({"role": role, "content": content});
            if role == "assistant" && calls {
                message["tool_calls"] = call.clone();
            }
            if reasons {
                message["reasoning_content"] = json!("\nr\n");
            }
            if more {
                message["name"] = json!("n");
                message["refusal"] = json!(null);
            }
            message
        },
    )
}

/// A conversation that is continued, branched and asked with changing settings, in some order.
#[derive(Clone, Debug)]
struct Step {
    keep: usize,
    append: Vec<Value>,
    settings: usize,
}

fn step() -> impl Strategy<Value = Step> {
    (0usize..40, prop::collection::vec(message(), 0..4), 0usize..11)
        .prop_map(|(keep, append, settings)| Step { keep, append, settings })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_cache_changes_nothing(
        start in prop::collection::vec(message(), 1..12), steps in prop::collection::vec(step(), 1..14), small in any::<bool>(),
    ) {
        let cache = cache(if small { 40_000 } else { 1 << 24 });
        let mut messages = start;
        for step in steps {
            // Mostly continued; sometimes cut back first.
            if step.keep < 10 {
                messages.truncate(step.keep.max(1));
            }
            messages.extend(step.append);
            let settings = [
                json!({}), json!({}), json!({}), json!({"stream": true, "temperature": 0.5}), json!({"tools": [{"type": "function", "function": {"name": "f"}}]}),
                json!({"add_generation_prompt": false}), json!({"cache_salt": "s"}), json!({"truncate_prompt_tokens": 9, "truncation_side": "right"}),
                json!({"chat_template_kwargs": {"enable_thinking": false}}), json!({"reasoning_effort": "none"}),
                json!({"continue_final_message": true, "add_generation_prompt": false}),
            ];
            let body = chat(&messages, &settings[step.settings]);
            for encoder in [&*QWEN, &*OTHER, &*QWEN3, &*DEEPSEEK] {
                for dialect in [Dialect::Vllm, Dialect::Sglang] {
                    check_as(dialect, encoder, Api::ChatCompletions, &body, &cache);
                }
            }
        }
    }

    #[test]
    fn cut_texts_give_the_same(text in "(<\\|im_end\\|>|<\\|im_start\\|>|<tool_call>|<|\\|im_|[a \n']|\\PC){0,60}", long in 0usize..200) {
        let cache = cache(1 << 24);
        let long = "word <|im_end|>\n".repeat(long);
        for prompt in [format!("{long}{text}"), format!("{long}{text}{long}"), format!("{text}{long}")] {
            for add_special_tokens in [false, true] {
                let body = Bytes::from(json!({"model": "m", "prompt": prompt, "add_special_tokens": add_special_tokens}).to_string());
                check(&QWEN, Api::Completions, &body, &cache);
            }
        }
    }
}
