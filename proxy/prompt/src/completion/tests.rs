use bytes::Bytes;
use serde_json::{Value, json};

use crate::{Api, Body, BodyError, PromptIds};

fn given_token_ids(api: Api, body: &[u8]) -> Result<Option<PromptIds>, BodyError> {
    Body::read(api, Bytes::copy_from_slice(body))?.given_token_ids()
}

fn given(body: Value) -> Option<Vec<u32>> {
    given_token_ids(Api::Completions, body.to_string().as_bytes()).unwrap().map(|prompt| prompt.ids)
}

#[test]
fn ids_need_no_tokenizer() {
    assert_eq!(given(json!({"prompt": [1, 2, 3]})), Some(vec![1, 2, 3]));
    assert_eq!(given(json!({"prompt": [[4, 5], [6]]})), Some(vec![4, 5]));
    assert_eq!(given(json!({"prompt": "text"})), None);
    assert_eq!(given(json!({"prompt": ["text", "more"]})), None);
    assert_eq!(given(json!({"prompt": [1, 2, 3, 4], "truncate_prompt_tokens": 2})), Some(vec![3, 4]));
    assert_eq!(
        given(json!({"prompt": [1, 2, 3, 4], "truncate_prompt_tokens": 3, "truncation_side": "right"})),
        Some(vec![1, 2, 3])
    );
    assert_eq!(given(json!({"prompt": [1, 2], "truncate_prompt_tokens": -1})), Some(vec![1, 2]));
}

#[test]
fn chats_have_none() {
    assert_eq!(given_token_ids(Api::ChatCompletions, br#"{"prompt":[1]}"#), Ok(None));
}

#[test]
fn mixed_or_impossible_ids_are_refused() {
    for prompt in [
        json!([1, "a"]),
        json!([[1], 2]),
        json!([[]]),
        json!([1.5]),
        json!([4294967296u64]),
        json!([null]),
        json!([[[1]]]),
    ] {
        let result = given_token_ids(Api::Completions, json!({ "prompt": prompt }).to_string().as_bytes());
        // An empty list of ids is a prompt of no tokens; whether that is allowed is the engine's affair.
        assert_eq!(result.is_ok(), prompt == json!([[]]), "{prompt}: {result:?}");
    }
}

#[test]
fn other_apis_bring_ids_too() {
    let given = |api, body: Value| {
        given_token_ids(api, body.to_string().as_bytes()).unwrap().map(|prompt| prompt.ids)
    };
    assert_eq!(given(Api::VllmGenerate, json!({"token_ids": [1, 2]})), Some(vec![1, 2]));
    assert_eq!(given(Api::SglangGenerate, json!({"input_ids": [[3], [4]], "text": "x"})), Some(vec![3]));
    assert_eq!(given(Api::SglangGenerate, json!({"text": ["x"]})), None);
    assert_eq!(given(Api::Embeddings, json!({"input": [5, 6]})), Some(vec![5, 6]));
}
