use bytes::Bytes;
use rankwise_core::hash::{Chain, HashKey, Namespace, block_extra};
use rankwise_core::ids::BlockSize;
use serde_json::{Value, json};

use super::Medium;
use crate::{Api, Body, BodyError, Hashing, PromptIds, block_hashes};

fn given(features: Value) -> Result<PromptIds, BodyError> {
    let ids: Vec<u32> = (0..40).collect();
    let body = json!({"token_ids": ids, "features": features, "sampling_params": {}}).to_string();
    Ok(Body::read(Api::VllmGenerate, Bytes::from(body))?.given_token_ids()?.unwrap())
}

fn two_images() -> Value {
    json!({
        "mm_hashes": {"image": ["later", "first"], "audio": ["a"]},
        "mm_placeholders": {"image": [{"offset": 20, "length": 10}, {"offset": 2, "length": 3}], "audio": [{"offset": 5, "length": 1}]},
        "kwargs_data": {"image": [null, "AAAA"], "audio": [null]},
    })
}

#[test]
fn media_are_in_the_order_of_the_prompt() {
    let places: Vec<(String, usize, usize)> = given(two_images())
        .unwrap()
        .media
        .into_iter()
        .map(|Medium { identifier, offset, length }| (identifier, offset, length))
        .collect();
    assert_eq!(places, [("first".to_owned(), 2, 3), ("a".to_owned(), 5, 1), ("later".to_owned(), 20, 10)]);
    assert!(given(json!(null)).unwrap().media.is_empty());
}

#[test]
fn what_the_engine_would_refuse_is() {
    for features in [
        json!({}),
        json!({"mm_hashes": {"image": ["a"]}, "mm_placeholders": {}}),
        json!({"mm_hashes": {}, "mm_placeholders": {"image": []}}),
        json!({"mm_hashes": {"image": ["a"]}, "mm_placeholders": {"image": [{"offset": -1, "length": 2}]}}),
        json!({"mm_hashes": {"image": ["a", "b"]}, "mm_placeholders": {"image": [{"offset": 0, "length": 2}, {"offset": 1, "length": 2}]}}),
    ] {
        let error = given(features.clone()).unwrap_err();
        assert!(error.is_client_fault() && error.param() == Some("features"), "{features}: {error}");
    }
}

#[test]
fn blocks_are_told_apart_by_what_they_show() {
    let key = HashKey::new([7; 32]);
    let hashing = Hashing { namespace: Namespace(3), sizes: &[BlockSize(8)] };
    let prompt = given(two_images()).unwrap();
    let blocks = |prompt: &PromptIds| block_hashes(prompt, &key, hashing).blocks[0].1.clone();
    // As a rank's events name them: each item that touches the block, with its start relative to the block's.
    let items: [&[(&str, i64)]; 5] = [&[("first", 2), ("a", 5)], &[], &[("later", 4)], &[("later", -4)], &[]];
    let contents = items.iter().enumerate().map(|(at, items)| {
        let tokens: Vec<u32> = (at as u32 * 8..at as u32 * 8 + 8).collect();
        key.block(&tokens, &block_extra(items, None))
    });
    assert_eq!(blocks(&prompt), Chain::new(Namespace(3), BlockSize(8), contents));

    let mut other = prompt.clone();
    other.media[2].identifier = "another".to_owned();
    let same =
        blocks(&prompt).iter().zip(blocks(&other).iter()).take_while(|(one, other)| one == other).count();
    assert_eq!(same, 2);
    assert_ne!(blocks(&PromptIds::of_text(prompt.ids.clone(), false))[0], blocks(&prompt)[0]);
}
