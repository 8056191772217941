use super::*;

fn json(fields: &[Field]) -> serde_json::Value {
    let fields: Vec<_> = fields.iter().map(|(name, json)| format!("{name:?}:{json}")).collect();
    serde_json::from_str(&format!("{{{}}}", fields.join(","))).unwrap()
}

const CHAT: bool = true;

#[test]
fn a_first_leg_of_vllm_is_one_token_whose_kv_is_kept() {
    let expected = serde_json::json!({
        "stream": false, "stream_options": null, "max_tokens": 1, "max_completion_tokens": 1, "min_tokens": 0,
        "kv_transfer_params": { "do_remote_decode": true, "do_remote_prefill": false },
    });
    assert_eq!(json(&Transfer::KvTransferParams.prefill(CHAT)), expected);
    let completion = json(&Transfer::KvTransferParams.prefill(!CHAT));
    assert!(completion.get("max_completion_tokens").is_none(), "that API does not know it");
}

#[test]
fn what_vllm_hands_over_is_passed_on_byte_by_byte() {
    let params = r#"{"do_remote_prefill": true, "remote_block_ids":[[1,2]], "remote_port":5601, "x":18446744073709551616123}"#;
    let answer = format!(r#"{{"id":"a","choices":[{{"text":"x"}}],"kv_transfer_params":{params}}}"#);
    let handed = Transfer::KvTransferParams.handed_over(answer.as_bytes(), CHAT).unwrap();
    assert_eq!(handed, Some(vec![("kv_transfer_params", params.to_owned())]));
}

#[test]
fn nothing_is_handed_over_where_nothing_was_kept() {
    let vllm = |answer: &str| Transfer::KvTransferParams.handed_over(answer.as_bytes(), CHAT);
    for answer in [r#"{"kv_transfer_params":null}"#, r#"{"kv_transfer_params":{ }}"#, "{}"] {
        assert_eq!(vllm(answer).unwrap(), None, "{answer}");
    }
    let trtllm = |answer: &str| Transfer::DisaggregatedParams.handed_over(answer.as_bytes(), CHAT);
    for answer in [r#"{"choices":[]}"#, r#"{"choices":[{"disaggregated_params":null}]}"#, "{}"] {
        assert_eq!(trtllm(answer).unwrap(), None, "{answer}");
    }
    assert!(vllm("[").is_err() && trtllm("<html>").is_err());
}

#[test]
fn what_tensorrt_llm_hands_over_becomes_a_generation() {
    let answer = r#"{"choices":[{"disaggregated_params":{"request_type":"context_only","ctx_request_id":9007199254740993,
        "first_gen_tokens":[5],"ctx_dp_rank":3}}],"prompt_token_ids":[1,2]}"#;
    let handed = |chat| Transfer::DisaggregatedParams.handed_over(answer.as_bytes(), chat).unwrap().unwrap();
    let params = serde_json::json!({
        "request_type": "generation_only", "ctx_request_id": 9_007_199_254_740_993_u64, "first_gen_tokens": [5], "ctx_dp_rank": 3,
    });
    assert_eq!(
        json(&handed(CHAT)),
        serde_json::json!({ "disaggregated_params": params, "prompt_token_ids": [1, 2] })
    );
    assert_eq!(json(&handed(!CHAT)), serde_json::json!({ "disaggregated_params": params, "prompt": [1, 2] }));
}

#[test]
fn a_room_belongs_to_its_rank() {
    for draw in [0, 1, u64::MAX, 0x0123_4567_89ab_cdef] {
        for ranks in [1, 3, 8] {
            for rank in 0..ranks {
                let number = Room::number(draw, DpRank(rank), ranks);
                assert_eq!(number % u64::from(ranks), u64::from(rank));
                assert!(number < 1 << 63);
            }
        }
    }
    let room = Room { host: "10.0.0.1".into(), port: 8998, number: 7, prefill_rank: Some(DpRank(3)) };
    let expected = serde_json::json!({
        "bootstrap_host": "10.0.0.1", "bootstrap_port": 8998, "bootstrap_room": 7, "disagg_prefill_dp_rank": 3,
    });
    assert_eq!(json(&meet(&room)), expected);
}

#[test]
fn whoever_decodes_for_sglang_takes_no_whole_request() {
    let decode = |transfer: Transfer| transfer.phases(Role::Decode);
    assert!(decode(Transfer::KvTransferParams).has(Phase::Aggregated));
    assert!(!decode(Transfer::BootstrapRoom).has(Phase::Aggregated));
    for transfer in [Transfer::KvTransferParams, Transfer::DisaggregatedParams, Transfer::BootstrapRoom] {
        assert_eq!(transfer.phases(Role::Aggregated), Phases::WHOLE);
        assert!(!transfer.phases(Role::Prefill).has(Phase::Aggregated));
        assert!(json(&transfer.closed()).as_object().unwrap().values().all(serde_json::Value::is_null));
    }
}
