use super::*;

/// As `KVCacheEventSerializer` writes them.
const GOLDEN: &str = r#"[{"event_id":0,"data":{"type":"created","num_blocks_per_cache_level":[2231,0]},"window_size":4096,"attention_dp_rank":0},
 {"event_id":1,"data":{"type":"stored","parent_hash":null,"blocks":[{"type":"stored_block","block_hash":1234567890123456789,
   "tokens":[{"type":"unique_token","token_id":1,"token_extra_id":0}],"cache_level":0,"priority":35}]},"window_size":4096,"attention_dp_rank":1},
 {"event_id":2,"data":{"type":"removed","block_hashes":[1234567890123456789]},"window_size":4096,"attention_dp_rank":1},
 {"event_id":3,"data":{"type":"updated","block_hash":123,"cache_level":{"type":"event_diff","new_value":1,"old_value":0},"priority":{"type":"event_diff","new_value":1,"old_value":2}},"window_size":4096}]"#;

fn only(json: &str) -> Event {
    let mut events = decode(json.as_bytes()).unwrap();
    assert_eq!(events.len(), 1);
    events.remove(0)
}

fn stored(block: &str) -> Block {
    let json =
        format!(r#"[{{"event_id":0,"data":{{"type":"stored","parent_hash":null,"blocks":[{block}]}}}}]"#);
    let Change::Stored { mut blocks, .. } = only(&json).change else { panic!("{json}") };
    blocks.remove(0)
}

#[test]
fn golden_bytes() {
    let cache = CacheKey { window: 4096, group: 0 };
    let name = EngineHash(1_234_567_890_123_456_789);
    let block = Block { name, tokens: Some(vec![1]), salt: None, tier: Tier::Device };
    let events = [
        (0, Some(0), Change::Created { blocks: Some(2231) }),
        (1, Some(1), Change::Stored { parent: None, blocks: vec![block] }),
        (2, Some(1), Change::Removed(vec![name])),
        (3, None, Change::Updated { block: EngineHash(123), tier: Some(Tier::Host) }),
    ];
    let events = events.map(|(id, rank, change)| Event { id, rank, cache, change });
    assert_eq!(decode(GOLDEN.as_bytes()).unwrap(), events);
}

#[test]
fn names_are_read_exactly() {
    for (json, expected) in [
        ("9007199254740993", (1 << 53) + 1),
        ("18446744073709551615", u64::MAX),
        ("-1", u64::MAX),
        ("\"00000000000000000000000000000000000000000000000080000000000000ff\"", (1 << 63) + 255),
        ("\"1f\"", 31),
    ] {
        let event = format!(r#"[{{"event_id":0,"data":{{"type":"removed","block_hashes":[{json}]}}}}]"#);
        assert_eq!(only(&event).change, Change::Removed(vec![EngineHash(expected)]), "{json}");
    }
    // What does not fit is refused rather than rounded.
    for json in ["18446744073709551616", "1.5", "1e3", "\"\"", "\"0x1f\"", "\"ä\"", "null", "[1]"] {
        let event = format!(r#"[{{"event_id":0,"data":{{"type":"removed","block_hashes":[{json}]}}}}]"#);
        assert!(decode(event.as_bytes()).is_err(), "{json}");
    }
}

#[test]
fn newer_fields_are_understood_or_passed_over() {
    let salted = stored(
        r#"{"type":"stored_block","block_hash":"ab","tokens":[{"token_id":7}],"cache_level":1,"cache_salt":"t1",
            "mm_keys":[],"lora_id":null,"priority":35,"news":{}}"#,
    );
    let expected =
        Block { name: EngineHash(0xab), tokens: Some(vec![7]), salt: Some("t1".into()), tier: Tier::Host };
    assert_eq!(salted, expected);
    let event =
        only(r#"[{"event_id":9,"hash_algo":"v2_sha256","layer_group_id":2,"data":{"type":"all_cleared"}}]"#);
    assert_eq!((event.id, event.cache.group, event.change), (9, 2, Change::Cleared));
    for unknown in [r#"{"type":"compacted"}"#, r#"{"type":"updated"}"#] {
        let event = only(&format!(r#"[{{"event_id":9,"data":{unknown}}}]"#));
        assert_eq!(event.change, Change::Unknown);
    }
    let unmoved =
        r#"[{"event_id":9,"data":{"type":"updated","block_hash":1,"cache_level":null,"priority":null}}]"#;
    assert_eq!(only(unmoved).change, Change::Updated { block: EngineHash(1), tier: None });
}

#[test]
fn what_is_no_text_of_the_base_model_has_no_tokens() {
    for (tokens, more) in [
        (r#"[{"token_id":1,"token_extra_id":5}]"#, ""),
        (r#"[{"token_id":-1}]"#, ""),
        (r#"[{"token_id":4294967296}]"#, ""),
        (r#"[{"token_id":1}]"#, r#","mm_keys":[{"type":"mm_key","hash":"ab","start_offset":0}]"#),
        (r#"[{"token_id":1}]"#, r#","lora_id":3"#),
    ] {
        let block = stored(&format!(r#"{{"block_hash":1,"tokens":{tokens}{more}}}"#));
        assert_eq!(block.tokens, None, "{tokens}{more}");
    }
    assert!(stored(r#"{"block_hash":1,"tokens":[{"token_id":1}],"lora_id":0}"#).tokens.is_some());
}

#[test]
fn larger_windows_and_lower_groups_are_better() {
    let key = |window, group| CacheKey { window, group };
    assert!(key(4096, 1).is_better_than(key(1024, 0)));
    assert!(key(4096, 0).is_better_than(key(4096, 1)));
    assert!(!key(4096, 0).is_better_than(key(4096, 0)));
    assert!(!key(1024, 0).is_better_than(key(4096, 1)));
}

#[test]
fn other_answers_are_errors() {
    for body in
        ["", "{}", "<html>", "[1]", "[{}]", r#"[{"event_id":-1,"data":{"type":"created"}}]"#, "[[[[", "null"]
    {
        assert!(decode(body.as_bytes()).is_err(), "{body}");
    }
    assert_eq!(decode(b"[]").unwrap(), []);
}
