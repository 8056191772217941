use rankwise_core::ids::BlockSize;

use super::*;
use crate::disaggregation::Role;
use crate::discovery::ModelCard;
use crate::testing::recording;

fn recorded() -> [Vec<u8>; 4] {
    [
        recording("models.json"),
        recording("metrics_idle.txt"),
        recording("kv_event_sources.json"),
        br#"{"version":"0.32.0"}"#.to_vec(),
    ]
}

fn answers(bodies: &[Vec<u8>; 4]) -> Answers<'_> {
    ["/v1/models", "/metrics", "/kv_event_sources", "/version"]
        .into_iter()
        .zip(bodies.iter().map(Vec::as_slice))
        .collect()
}

fn described(answers: &Answers<'_>) -> WorkerDescription {
    describe("10.0.0.1", answers, &Overrides::default()).unwrap()
}

#[test]
fn the_recorded_server_has_two_ranks_of_64_blocks() {
    let bodies = recorded();
    let rank = |number: u32| RankDescription {
        header_rank: DpRank(number),
        global_rank: number,
        group: 0,
        capacity_blocks: 64,
        events: Some(EventEndpoints {
            live: format!("tcp://127.0.0.1:{}", 27201 + number),
            replay: Some(format!("tcp://127.0.0.1:{}", 27211 + number)),
            topic: "kv-events".into(),
        }),
        load: None,
    };
    let expected = WorkerDescription {
        ranks: vec![rank(0), rank(1)],
        pinning: Pinning::Header,
        block_size: Some(BlockSize(32)),
        prefix_caching: Some(true),
        max_model_len: Some(1024),
        role: Role::Aggregated,
        bootstrap_port: None,
        models: vec![ModelCard {
            id: "tiny".into(),
            root: Some("/models/tiny".into()),
            parent: None,
            max_model_len: Some(1024),
        }],
        tokenizer_source: Some("/models/tiny".into()),
        version: Some("0.32.0".into()),
        drained: false,
        instances: vec![],
        findings: vec![],
    };
    assert_eq!(described(&answers(&bodies)), expected);
}

#[test]
fn capacity_is_found_from_the_sum_of_blocks_too() {
    let mut bodies = recorded();
    let page = String::from_utf8(bodies[1].clone()).unwrap();
    bodies[1] = page.replace("kv_cache_size_tokens=\"2080\"", "kv_cache_size_tokens=\"None\"").into_bytes();
    assert!(described(&answers(&bodies)).ranks.iter().all(|rank| rank.capacity_blocks == 64));
}

/// Two ranks of a hybrid deployment whose node starts at global rank 4.
fn hybrid() -> [Vec<u8>; 2] {
    let engine = |rank| format!("vllm:cache_config_info{{engine=\"{rank}\",block_size=\"16\"}} 1.0\n");
    let source = |rank| {
        format!(
            "\"{rank}\":{{\"enable_kv_cache_events\":true,\"endpoint\":\"tcp://*:{}\",\"replay_endpoint\":null}}",
            5557 + rank
        )
    };
    let page = [engine(5), engine(4)].concat();
    [page.into_bytes(), format!("{{{},{},{}}}", source(3), source(4), source(5)).into_bytes()]
}

#[test]
fn global_ranks_become_local_ones() {
    let [page, sources] = hybrid();
    let answers = Answers::default().with("/metrics", &page).with("/kv_event_sources", &sources);
    let worker = described(&answers);
    let ranks: Vec<_> = worker.ranks.iter().map(|rank| (rank.header_rank.0, rank.global_rank)).collect();
    assert_eq!(ranks, [(0, 4), (1, 5)]);
    let events = worker.ranks[1].events.as_ref().unwrap();
    assert_eq!((events.live.as_str(), events.replay.as_ref()), ("tcp://10.0.0.1:5562", None));
    let no_replay = |global_rank| Blindness::NoReplay { global_rank };
    assert_eq!(worker.findings, [no_replay(4), no_replay(5)]);
}

#[test]
fn config_wins() {
    let [page, sources] = hybrid();
    let answers = Answers::default().with("/metrics", &page).with("/kv_event_sources", &sources);
    let overrides = Overrides {
        ranks: Some(3),
        block_size: Some(BlockSize(64)),
        capacity_blocks: Some(7),
        independent_ranks: true,
        drain_events: false,
        instance: None,
        takes_rank_fields: None,
    };
    let worker = describe("h", &answers, &overrides).unwrap();
    let ranks: Vec<_> = worker.ranks.iter().map(|r| (r.global_rank, r.group, r.capacity_blocks)).collect();
    assert_eq!(ranks, [(4, 0, 7), (5, 1, 7), (6, 2, 7)]);
    assert_eq!(worker.block_size, Some(BlockSize(64)));
    assert!(worker.findings.contains(&Blindness::RankWithoutEvents { global_rank: 6 }));
    assert!(describe("h", &answers, &Overrides { ranks: Some(0), ..overrides }).is_err());
    assert!(describe("h", &answers, &Overrides { ranks: Some(u32::MAX), ..overrides }).is_err());
}

#[test]
fn blind_spots_are_named() {
    let page =
        b"vllm:cache_config_info{engine=\"0\",block_size=\"None\",enable_prefix_caching=\"False\"} 1.0\n";
    let answers = Answers::default().with("/metrics", page).with("/kv_event_sources", b"{}");
    let expected = [
        Blindness::BlockSizeUnknown,
        Blindness::PrefixCachingOff { start: CACHING },
        Blindness::EventsOff { start: EVENTS },
    ];
    assert_eq!(described(&answers).findings, expected);
    for finding in &expected {
        assert!(!finding.to_string().is_empty() && !finding.name().contains(' '));
    }

    let sources =
        br#"{"0":{"enable_kv_cache_events":true,"endpoint":"ipc:///x","replay_endpoint":"tcp://*:0"}}"#;
    let answers = Answers::default().with("/kv_event_sources", sources);
    let findings = described(&answers).findings;
    assert!(findings.contains(&Blindness::MetricsMissing));
    assert!(findings.contains(&Blindness::EndpointUnusable { global_rank: 0, endpoint: "ipc:///x".into() }));
}

#[test]
fn answers_of_other_servers_are_errors_not_panics() {
    assert!(describe("h", &Answers::default(), &Overrides::default()).is_err());
    for body in [&b"<html>"[..], b"[]", b"{\"x\":{}}", b"{\"0\":1}", b"{\"-1\":{}}", b"null", b"\xff"] {
        let answers = Answers::default().with("/kv_event_sources", body);
        assert!(describe("h", &answers, &Overrides::default()).is_err());
        let answers = Answers::default().with("/v1/models", body).with("/metrics", body);
        assert!(describe("h", &answers, &Overrides::default()).is_err());
    }
}

#[test]
fn adapters_are_models_with_a_parent() {
    let page = b"vllm:cache_config_info{engine=\"0\",block_size=\"16\"} 1.0\n";
    let models = br#"{"data":[{"id":"ad","owned_by":"vllm","root":"/l","parent":"base"},
        {"id":"base","owned_by":"vllm","root":"org/base","parent":null,"max_model_len":9}]}"#;
    let answers = Answers::default().with("/metrics", page).with("/v1/models", models);
    let worker = described(&answers);
    assert_eq!((worker.max_model_len, worker.tokenizer_source.as_deref()), (Some(9), Some("org/base")));
    assert_eq!(worker.models[0].parent.as_deref(), Some("base"));
}
