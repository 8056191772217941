use std::path::Path;
use std::sync::LazyLock;

use bytes::Bytes;
use proptest::prelude::*;
use rankwise_core::hash::{Chain, HashKey, Namespace};
use rankwise_core::ids::BlockSize;
use serde_json::{Value, json};

use super::PromptEncoder;
use crate::test_support::{data, qwen2_5, unpack_qwen2_5};
use crate::{
    Api, Body, BodyError, EncoderKind, EncoderPreference, Hashing, PromptCache, PromptIds, TokenizerFiles,
};

static FASTEST: LazyLock<PromptEncoder> =
    LazyLock::new(|| PromptEncoder::from_files(qwen2_5(), EncoderPreference::Fastest).unwrap());
static REFERENCE: LazyLock<PromptEncoder> =
    LazyLock::new(|| PromptEncoder::from_files(qwen2_5(), EncoderPreference::Reference).unwrap());

fn body_of(api: Api, body: &[u8]) -> Result<Body, BodyError> {
    Body::read(api, Bytes::copy_from_slice(body))
}

/// The ids of a body without any cache.
fn ids_of(encoder: &PromptEncoder, api: Api, body: &[u8]) -> Result<PromptIds, BodyError> {
    encoder.token_ids(&body_of(api, body)?)
}

fn chat(body: Value) -> PromptIds {
    FASTEST.token_ids(&body_of(Api::ChatCompletions, body.to_string().as_bytes()).unwrap()).unwrap()
}

/// What one vLLM 0.32.0 answered to `POST /tokenize`.
fn engine_agrees(encoder: &PromptEncoder) {
    let cases = std::fs::read_to_string(data("vllm-0.32/tokenize.jsonl")).unwrap();
    assert_eq!(cases.lines().count(), 28);
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let api =
            if case["request"].get("prompt").is_some() { Api::Completions } else { Api::ChatCompletions };
        let prompt = ids_of(encoder, api, case["request"].to_string().as_bytes()).unwrap();
        assert_eq!(json!(prompt.ids), case["response"]["tokens"], "{}", case["request"]);
        assert!(!prompt.truncated);
    }
}

#[test]
fn ids_are_the_engines() {
    assert_eq!(FASTEST.encoder().kind, EncoderKind::Fastokens, "{}", FASTEST.encoder().reason);
    engine_agrees(&FASTEST);
}

#[test]
fn ids_of_the_reference_are_the_engines() {
    assert_eq!(REFERENCE.encoder().kind, EncoderKind::Reference);
    engine_agrees(&REFERENCE);
}

/// Large inputs are what fastokens would spread over its threads.
#[test]
#[cfg(target_os = "linux")]
fn encoding_starts_no_threads() {
    let text = "The quick brown fox. <|im_end|>\n".repeat(20_000);
    let body = json!({ "prompt": text }).to_string();
    assert!(ids_of(&FASTEST, Api::Completions, body.as_bytes()).unwrap().ids.len() > 100_000);
    let names = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    for name in names {
        assert!(!name.starts_with("fastokens-"), "{name}");
    }
}

#[test]
fn a_folder_loads() {
    let folder = tempfile::tempdir().unwrap();
    unpack_qwen2_5(folder.path());
    std::fs::write(folder.path().join("chat_template.jinja"), "{{ messages[0].content }}").unwrap();
    let files = TokenizerFiles::read(folder.path()).unwrap();
    assert_eq!(files.tokenizer, qwen2_5().tokenizer);
    assert_eq!(files.chat_template.as_deref(), Some("{{ messages[0].content }}"));
}

#[test]
fn the_simulators_tokenizer_loads_and_its_encoders_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sim/assets/tokenizer");
    let fastest = PromptEncoder::load(&folder).unwrap();
    assert_eq!(fastest.encoder().kind, EncoderKind::Fastokens, "{}", fastest.encoder().reason);
    let files = TokenizerFiles::read(&folder).unwrap();
    let reference = PromptEncoder::from_files(&files, EncoderPreference::Reference).unwrap();
    for content in
        ["Hello, world!", "", "今天 <|im_end|>\n\n x", "fn main() {\n    println!(\"{}\", 1 + 2);\n}"]
    {
        let body = json!({"messages": [{"role": "user", "content": content}]}).to_string();
        let ids = ids_of(&fastest, Api::ChatCompletions, body.as_bytes()).unwrap().ids;
        assert_eq!(ids, ids_of(&reference, Api::ChatCompletions, body.as_bytes()).unwrap().ids);
        assert_eq!(ids[0], 4094);
        assert!(ids.iter().all(|id| *id < 4096));
    }
}

#[test]
fn an_image_ends_what_is_known() {
    let before = json!({"role": "system", "content": "You see."});
    let image = json!({"type": "image_url", "image_url": {"url": "data:"}});
    let whole = chat(json!({"messages": [before, {"role": "user", "content": "x"}]}));
    let cut = chat(
        json!({"messages": [before, {"role": "user", "content": ["What is this?", image]}, {"role": "user", "content": "y"}]}),
    );
    assert!(cut.truncated && !whole.truncated);
    assert!(!cut.ids.is_empty() && cut.ids.len() < whole.ids.len());
    assert!(whole.ids.starts_with(&cut.ids));
    let body = json!({"prompt_embeds": "AA=="}).to_string();
    let embeds = ids_of(&FASTEST, Api::Completions, body.as_bytes()).unwrap();
    assert_eq!(embeds, PromptIds::of_text(Vec::new(), true));
}

#[test]
fn the_first_of_several_prompts_counts() {
    let ids = |prompt: Value| {
        ids_of(&FASTEST, Api::Completions, json!({ "prompt": prompt }).to_string().as_bytes()).unwrap().ids
    };
    assert_eq!(ids(json!(["Hello world", "x"])), ids(json!("Hello world")));
    assert_eq!(ids(json!([[5, 6], [7]])), [5, 6]);
    assert_eq!(ids(json!([5, 6, 7])), [5, 6, 7]);
}

#[test]
fn the_engines_truncation_is_followed() {
    let messages = json!([{"role": "user", "content": "one two three"}]);
    let whole = chat(json!({"messages": messages})).ids;
    let last = chat(json!({"messages": messages, "truncate_prompt_tokens": 5})).ids;
    assert_eq!(last, whole[whole.len() - 5..]);
    let first =
        chat(json!({"messages": messages, "truncate_prompt_tokens": 5, "truncation_side": "right"})).ids;
    assert_eq!(first, whole[..5]);
}

#[test]
fn errors_are_told_apart() {
    let error = |api, body: &str| ids_of(&FASTEST, api, body.as_bytes()).unwrap_err();
    assert!(matches!(error(Api::Completions, "{"), BodyError::Json { .. }));
    assert!(matches!(error(Api::Completions, "{}"), BodyError::Missing { .. }));
    assert!(matches!(error(Api::ChatCompletions, r#"{"messages":[]}"#), BodyError::EmptyArray { .. }));
    let deep = format!(r#"{{"messages":[{{"role":"user","x":{}{}}}]}}"#, "[".repeat(500), "]".repeat(500));
    assert!(matches!(error(Api::ChatCompletions, &deep), BodyError::Value { .. }));
    let both = r#"{"messages":[{"role":"user","content":"a"}],"continue_final_message":true}"#;
    assert!(matches!(error(Api::ChatCompletions, both), BodyError::Template { .. }));
}

#[test]
fn hashes_are_of_whole_blocks() {
    let key = HashKey::new([7; 32]);
    let body = json!({"prompt": (0..100).collect::<Vec<u32>>()}).to_string();
    let hashing = Hashing { namespace: Namespace(3), sizes: &[BlockSize(16), BlockSize(64)] };
    let cache = PromptCache::new(1 << 20, key.clone());
    let body = body_of(Api::Completions, body.as_bytes()).unwrap();
    let hashes = FASTEST.block_hashes(&body, hashing, &cache).unwrap();
    assert_eq!((hashes.tokens, hashes.truncated), (100, false));
    assert_eq!(hashes.blocks.iter().map(|(_, blocks)| blocks.len()).collect::<Vec<_>>(), [6, 1]);
    let contents = [0, 16].map(|from| key.block(&(from..from + 16).collect::<Vec<u32>>(), &[]));
    assert_eq!(hashes.blocks[0].1[..2], Chain::new(Namespace(3), BlockSize(16), contents)[..]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..60), inside in "[\\[\\]{}:,\"a0-9 nulltruefalse.]{0,40}") {
        for api in Api::ALL {
            let _ = ids_of(&FASTEST, api, &body);
            for field in ["messages", "prompt", "tools", "chat_template_kwargs", "documents", "input", "system", "text"] {
                let body = format!("{{\"messages\":[{{\"role\":\"user\",\"content\":{inside}}}],\"{field}\":{inside}}}");
                let _ = ids_of(&FASTEST, api, body.as_bytes());
            }
        }
    }

    #[test]
    fn encoders_agree(text in prop_oneof![".{0,80}", "[ \n\t\r'a-zA-Z0-9<|im_end>]{0,80}", "(<\\|im_end\\|>|<tool_call>|[a ']|\\PC){0,30}"]) {
        let body = json!({"messages": [{"role": "user", "content": text}]}).to_string();
        prop_assert_eq!(
            ids_of(&FASTEST, Api::ChatCompletions, body.as_bytes()),
            ids_of(&REFERENCE, Api::ChatCompletions, body.as_bytes())
        );
    }
}
