use super::*;

const MODELS: &[u8] = br#"{"data":[{"id":"base","owned_by":"sglang","root":"org/base","max_model_len":4096},
    {"id":"ad","owned_by":"sglang","root":"/l","parent":"base"}]}"#;

fn info(kv_events: &str, arguments: &str) -> String {
    format!(
        "{{\"version\":\"0.5.23\",\"model_path\":\"/models/base\",\"max_total_num_tokens\":4096,\"page_size\":64,\
         {arguments}\"kv_events\":{kv_events},\"internal_states\":[{{\"memory_usage\":{{}}}}]}}"
    )
}

/// As the reference has it.
const PUBLISHED: &str = r#"{"publisher":"zmq","endpoint_host":"*","endpoint_port_base":5557,"topic":"","block_size":64,
    "dp_size":4,"replay_endpoint_port_base":5657,"load_endpoint_port_base":5561,"load_topic":"load"}"#;

fn described(info: &str, overrides: Overrides) -> WorkerDescription {
    let answers = Answers::default().with("/v1/models", MODELS).with("/server_info", info.as_bytes());
    describe("10.0.0.1", &answers, &overrides).unwrap()
}

#[test]
fn attention_ranks_are_one_lockstep_group_on_consecutive_ports() {
    let worker = described(&info(PUBLISHED, "\"dp_size\":1,\"attn_dp_size\":4,"), Overrides::default());
    assert_eq!(worker.ranks.len(), 4);
    assert_eq!(
        worker.ranks[3],
        RankDescription {
            header_rank: DpRank(3),
            global_rank: 3,
            group: 0,
            capacity_blocks: 64,
            events: Some(EventEndpoints {
                live: "tcp://10.0.0.1:5560".into(),
                replay: Some("tcp://10.0.0.1:5660".into()),
                topic: String::new(),
            }),
            load: Some(LoadEndpoint { live: "tcp://10.0.0.1:5564".into(), topic: "load".into(), rank: 3 }),
        }
    );
    assert_eq!(worker.block_size, Some(BlockSize(64)));
    assert_eq!((worker.version.as_deref(), worker.max_model_len), (Some("0.5.23"), Some(4096)));
    assert_eq!(worker.tokenizer_source.as_deref(), Some("/models/base"));
    assert!(worker.findings.is_empty(), "{:?}", worker.findings);
}

#[test]
fn ranks_tell_their_load_where_it_is_published_and_by_their_place_in_the_group() {
    let load = |told: &str, arguments: &str| -> Vec<_> {
        let worker = described(&info(told, arguments), Overrides::default());
        worker
            .ranks
            .into_iter()
            .map(|rank| rank.load.map(|load| (load.live, load.topic, load.rank)))
            .collect()
    };
    let at = |port: u16, rank| Some((format!("tcp://10.0.0.1:{port}"), "load".to_owned(), rank));
    assert_eq!(
        load(PUBLISHED, "\"dp_size\":2,\"attn_dp_size\":2,"),
        [at(5561, 0), at(5562, 1), at(5563, 0), at(5564, 1)]
    );
    assert_eq!(load(PUBLISHED, "\"dp_size\":2,"), [at(5561, 0), at(5562, 0), at(5563, 0), at(5564, 0)]);
    for (told, off) in
        [("\"load_endpoint_port_base\":5561", "\"load_endpoint_port_base\":null"), ("5561", "65535")]
    {
        let told = PUBLISHED.replace(told, off);
        assert_eq!(load(&told, "\"attn_dp_size\":4,")[1..], [None, None, None], "{told}");
    }
}

#[test]
fn ranks_of_plain_data_parallelism_step_alone() {
    let groups = |arguments: &str, overrides| {
        let worker = described(&info(PUBLISHED, arguments), overrides);
        worker.ranks.iter().map(|rank| rank.group).collect::<Vec<_>>()
    };
    assert_eq!(groups("\"dp_size\":4,", Overrides::default()), [0, 1, 2, 3]);
    assert_eq!(groups("\"dp_size\":2,\"attn_dp_size\":2,", Overrides::default()), [0, 0, 1, 1]);
    // Before the arguments were renamed.
    assert_eq!(groups("\"dp_size\":4,\"enable_dp_attention\":true,", Overrides::default()), [0; 4]);
    let alone = Overrides { independent_ranks: true, ranks: Some(2), ..Overrides::default() };
    assert_eq!(groups("\"attn_dp_size\":4,", alone), [0, 1]);
}

#[test]
fn blind_spots_are_named() {
    let arguments = "\"disable_radix_cache\":true,\"enable_cache_report\":false,";
    let worker = described(&info("null", arguments), Overrides::default());
    let names: Vec<_> = worker.findings.iter().map(Blindness::name).collect();
    assert_eq!(names, ["prefix_caching_off", "events_off", "cached_tokens_untold"]);
    assert!(worker.ranks[0].events.is_none());

    let page_of_one = PUBLISHED
        .replace("\"block_size\":64", "\"block_size\":1")
        .replace("\"replay_endpoint_port_base\":5657", "\"replay_endpoint_port_base\":null");
    let worker = described(&info(&page_of_one, ""), Overrides::default());
    assert_eq!(worker.block_size, Some(BlockSize(1)));
    assert_eq!(worker.ranks[0].capacity_blocks, 4096);
    assert_eq!(worker.findings[0], Blindness::SmallBlocks { tokens: 1 });
    assert_eq!(worker.findings[1], Blindness::NoReplay { global_rank: 0 });
    assert!(worker.findings.iter().all(|finding| !finding.to_string().is_empty()));
}

#[test]
fn ports_that_do_not_exist_are_not_connected_to() {
    let last = PUBLISHED.replace("5557", "65534");
    let worker = described(&info(&last, ""), Overrides::default());
    let has_events: Vec<_> = worker.ranks.iter().map(|rank| rank.events.is_some()).collect();
    assert_eq!(has_events, [true, true, false, false]);
}

#[test]
fn answers_of_other_servers_are_errors_not_panics() {
    for body in ["<html>", "[]", "null", "{\"kv_events\":[]}", "{\"kv_events\":{\"endpoint_port_base\":-1}}"]
    {
        let answers = Answers::default().with("/server_info", body.as_bytes());
        assert!(describe("h", &answers, &Overrides::default()).is_err(), "{body}");
    }
    assert!(describe("h", &Answers::default(), &Overrides::default()).is_err());
    // What is not told is one rank of unknown size.
    let answers = Answers::default().with("/server_info", b"{\"dp_size\":\"x\"}");
    let worker = describe("h", &answers, &Overrides::default()).unwrap();
    assert_eq!((worker.ranks.len(), worker.ranks[0].capacity_blocks, worker.block_size), (1, 0, None));
    let answers = Answers::default().with("/server_info", b"{\"dp_size\":5000}");
    assert!(describe("h", &answers, &Overrides::default()).is_err());
}

#[test]
fn a_worker_says_which_leg_of_a_request_it_takes() {
    let told = |arguments: &str| {
        let worker = described(&info("null", arguments), Overrides::default());
        (worker.role, worker.bootstrap_port)
    };
    assert_eq!(told(""), (Role::Aggregated, None));
    let port = "\"disaggregation_bootstrap_port\":9001,";
    assert_eq!(told(&format!("\"disaggregation_mode\":\"null\",{port}")), (Role::Aggregated, Some(9001)));
    assert_eq!(told(&format!("\"disaggregation_mode\":\"prefill\",{port}")), (Role::Prefill, Some(9001)));
    assert_eq!(told("\"disaggregation_mode\":\"decode\","), (Role::Decode, None));
}
