//! Writes what fuzzing starts from: `seeds FOLDER` fills `FOLDER/TARGET/` from tests/data, tests/config and policies/dist.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

// What it shares with the targets is instrumented, and calls what libFuzzer has.
use libfuzzer_sys as _;
use rankwise_core::event::{CacheEvent, CacheGroup, Parent, StoredBlock, Tier};
use rankwise_core::hash::{BlockHash, EngineHash, Namespace};
use rankwise_core::ids::{BlockSize, DpRank, GroupId, Millis, WorkerId};
use rankwise_core::state::{RoutingState, StateConfig};
use rankwise_core::target::{Phases, TargetSpec};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// `tests`.
const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("expected a folder")?);
    let seeds = Seeds(folder);
    seeds.events()?;
    seeds.drained()?;
    seeds.write("published_load", "golden", b"\x9b\xa8LoadStat\x01\x02\x03\x04\x01\0\0\0\0\0")?;
    seeds.answers()?;
    seeds.bodies()?;
    seeds.images()?;
    #[cfg(feature = "proxy")]
    seeds.recording()?;
    seeds.files("config", "config", "yaml")?;
    for policy in data("../policies/dist", "wasm")? {
        seeds.write("policy_component", &name(&policy), &fs::read(&policy)?)?;
    }
    Ok(())
}

struct Seeds(PathBuf);

impl Seeds {
    fn write(&self, target: &str, name: &str, content: &[u8]) -> Result<()> {
        let folder = self.0.join(target);
        fs::create_dir_all(&folder)?;
        Ok(fs::write(folder.join(name), content)?)
    }

    /// Every file of `tests/FOLDER` and the folders in it that ends so.
    fn files(&self, target: &str, folder: &str, ending: &str) -> Result<()> {
        for path in data(folder, ending)? {
            self.write(target, &name(&path), &fs::read(&path)?)?;
        }
        Ok(())
    }

    /// Recorded messages: each payload by itself, and the first ones of a rank as a feed hears them.
    fn events(&self) -> Result<()> {
        for recording in data("data/vllm-0.32/kv", "frames")? {
            let mut story = vec![0, 0, 0, 0, 0];
            for (number, message) in messages(&fs::read(&recording)?).into_iter().enumerate() {
                let Some((payload, before)) = message.split_last() else { continue };
                self.write("event_batch", &format!("{}-{number}", name(&recording)), payload)?;
                let replayed = before.len() > 2;
                let sequence = before.last().and_then(|bytes| bytes.last()).copied().unwrap_or(0);
                if number < 12 {
                    story.extend([if replayed { 4 } else { 2 }, sequence]);
                    story.extend(u16::try_from(payload.len())?.to_be_bytes());
                    story.extend(*payload);
                }
            }
            // The end of a replay.
            story.extend([4, 255, 0, 0]);
            self.write("event_feed", &name(&recording), &story)?;
        }
        Ok(())
    }

    /// Answers of a server whose events are drained: a rank's beginning, and what another does later.
    fn drained(&self) -> Result<()> {
        let first = r#"[{"event_id":0,"data":{"type":"created","num_blocks_per_cache_level":[4,0]},"window_size":4096,"attention_dp_rank":0},
            {"event_id":1,"data":{"type":"stored","parent_hash":null,"blocks":[{"type":"stored_block","block_hash":1234567890123456789,
            "tokens":[{"type":"unique_token","token_id":1,"token_extra_id":0},{"type":"unique_token","token_id":2,"token_extra_id":0}],
            "cache_level":0,"priority":35},{"block_hash":"ab","tokens":[{"token_id":3},{"token_id":4}],"cache_salt":"t","mm_keys":[],
            "lora_id":null}]},"window_size":4096,"attention_dp_rank":0}]"#;
        let second = r#"[{"event_id":2,"data":{"type":"updated","block_hash":171,"cache_level":{"type":"event_diff","new_value":1,
            "old_value":0},"priority":null},"window_size":4096,"attention_dp_rank":0},{"event_id":3,"data":{"type":"removed",
            "block_hashes":[1234567890123456789]},"window_size":4096,"attention_dp_rank":0},{"event_id":9,"hash_algo":"v2_sha256",
            "layer_group_id":1,"data":{"type":"all_cleared"},"window_size":1024,"attention_dp_rank":1}]"#;
        let mut story = vec![1];
        for answer in [first, second] {
            story.push(3);
            story.extend(u16::try_from(answer.len())?.to_be_bytes());
            story.extend(answer.as_bytes());
        }
        // Nobody listens any more.
        story.extend([1, 0, 0]);
        self.write("event_drain", "story", &story)
    }

    /// What engines answered.
    fn answers(&self) -> Result<()> {
        let folder = Path::new(TESTS).join("data/vllm-0.32");
        self.files("prometheus", "data/vllm-0.32", "txt")?;
        for answer in data("data/vllm-0.32", "txt")? {
            let mut seed = vec![16];
            seed.extend(fs::read(&answer)?);
            self.write("reply", &name(&answer), &seed)?;
        }
        let parts = ["models.json", "metrics_idle.txt", "kv_event_sources.json"];
        let mut seed = Vec::new();
        for part in parts {
            seed.extend(fs::read(folder.join(part))?);
            seed.push(0xFF);
        }
        seed.extend(br#"{"version":"0.32.0"}"#);
        self.write("discovery", "vllm", &seed)?;
        // The page is long: one without it is where the rest is found out.
        let short = seed.split(|byte| *byte == 0xFF).enumerate();
        let short: Vec<_> = short.map(|(at, part)| if at == 1 { &[][..] } else { part }).collect();
        self.write("discovery", "vllm-without-metrics", &short.join(&0xFF))?;
        let sglang = br#"{"data":[{"id":"m"}]}/{"page_size":64,"attn_dp_size":4,"max_total_num_tokens":4096,"kv_events":{"publisher":"zmq",
            "endpoint_host":"*","endpoint_port_base":5557,"topic":"","block_size":64,"dp_size":4,"replay_endpoint_port_base":5657}}"#;
        self.write(
            "discovery",
            "sglang",
            &sglang.split(|byte| *byte == b'/').collect::<Vec<_>>().join(&0xFF),
        )?;
        let dynamo = br#"{"data":[{"id":"m"}]}/{"status":"healthy","instances":[{"endpoint":"generate","instance_id":1897669906632631288}]}"#;
        self.write("discovery", "dynamo", &dynamo.split(|byte| *byte == b'/').collect::<Vec<_>>().join(&0xFF))?;
        let shim = br#"{"data":[{"id":"m"}]}/{"ranks":4,"block_size":32,"blocks":2231,"events":{"port":5557,"replay_port":5657}}/
            {"version":"1.3.0"}"#;
        self.write("discovery", "trtllm", &shim.split(|byte| *byte == b'/').collect::<Vec<_>>().join(&0xFF))
    }

    /// What is kept of a rank's blocks.
    fn images(&self) -> Result<()> {
        let state = RoutingState::new(StateConfig::default(), BlockSize(16));
        let target = state.add_target(TargetSpec {
            worker: WorkerId(0),
            rank: DpRank(0),
            group: GroupId(0),
            key: 0,
            block_size: BlockSize(16),
            capacity_blocks: 64,
            pinnable: true,
            phases: Phases::WHOLE,
        });
        let (tier, group, block_size) = (Tier::Device, CacheGroup(0), BlockSize(16));
        for (branch, parent) in
            [Parent::Root(Namespace(1)), Parent::Block(EngineHash(2))].into_iter().enumerate()
        {
            let blocks = (0..4).map(|n| branch as u64 * 10 + n);
            let blocks =
                blocks.map(|n| StoredBlock { engine: EngineHash(n), content: BlockHash(n) }).collect();
            let event = CacheEvent::Stored { parent, blocks, block_size, tier, group };
            state.apply_batch(target.id, &[event.clone(), event], Millis(0));
        }
        let image = state.image(target.id).ok_or("no image")?;
        let mut bytes = Vec::new();
        image.encode(&mut bytes);
        self.write("index_image", "branches", &bytes)
    }

    /// Two decisions of one policy, and what became of one of them.
    #[cfg(feature = "proxy")]
    fn recording(&self) -> Result<()> {
        use rankwise::decisions::recording::{Encoder, RecordedPolicy, RecordedPool};
        use rankwise::decisions::{Answer, Chosen, Filtered, Lane, Record, Table, Times, Truth};
        use rankwise_core::policy::{Column, Decision, PolicyRequest};
        let mut bytes = Vec::new();
        let mut encoder = Encoder::begin(&RecordedPool::new("main".into(), "m".into(), 16), &mut bytes);
        let policy = RecordedPolicy {
            name: "kv".into(),
            version: 1,
            digest: "d".repeat(64),
            settings: serde_json::json!({ "temperature": 0.5 }),
            model: "m".into(),
            block_size: 16,
        };
        let number = encoder.policy(&policy, &mut bytes);
        for (id, row) in [(1, 0), (2, 1)] {
            let record = Record {
                id,
                request_id: format!("r{id}"),
                at_unix_ms: 1_700_000_000_000 + id,
                lane: Lane::Active,
                request: PolicyRequest {
                    sequence: id,
                    text: vec![("x-a".into(), "b".into())],
                    ..PolicyRequest::default()
                },
                table: Table {
                    rows: 2,
                    columns: Column::ALL.to_vec(),
                    packed: vec![row; 2 * Column::ALL.len()],
                },
                answer: Answer::Decided(Decision::Rank(row)),
                chosen: Chosen::Row(row),
                times: Times::default(),
                filtered: vec![Filtered { worker: 4, rank: 1, reason: "draining".into() }],
            };
            encoder.decision(&record, Some(number), &mut bytes);
        }
        encoder.truth(
            1,
            &Truth { outcome: "ok".into(), cached_tokens: Some(16), ..Truth::default() },
            &mut bytes,
        );
        self.write("recording", "two", &bytes)
    }

    /// What clients and operators send.
    fn bodies(&self) -> Result<()> {
        let cases = fs::read_to_string(Path::new(TESTS).join("data/vllm-0.32/tokenize.jsonl"))?;
        for (number, line) in cases.lines().enumerate() {
            let case: serde_json::Value = serde_json::from_str(line)?;
            let body = case["request"].to_string();
            for target in ["request_body", "prompt", "prompt_cache"] {
                self.write(target, &format!("case-{number}"), body.as_bytes())?;
            }
            let mut spliced = vec![4];
            spliced.extend(b"rank");
            spliced.extend(body.as_bytes());
            self.write("splice", &format!("case-{number}"), &spliced)?;
        }
        let bodies = [
            r#"{"model":"m","prompt":[1,2,3],"max_tokens":4,"n":2,"cache_salt":"s","stream":true}"#,
            r#"{"model":"m","prompt":[[1,2],[3]],"truncate_prompt_tokens":1,"priority":-3}"#,
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"é\ud83d\ude00"}]}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}]}"#,
        ];
        for (number, body) in bodies.iter().enumerate() {
            self.write("request_body", &format!("body-{number}"), body.as_bytes())?;
            self.write("prompt", &format!("body-{number}"), body.as_bytes())?;
        }
        let answers = [
            r#"{"choices":[{"text":"x"}],"kv_transfer_params":{"do_remote_prefill":true,"remote_block_ids":[[1,2]],"remote_port":5601}}"#,
            r#"{"choices":[{"disaggregated_params":{"request_type":"context_only","ctx_request_id":9007199254740993}}],"prompt_token_ids":[1,2]}"#,
        ];
        for (number, answer) in answers.iter().enumerate() {
            self.write("handover", &format!("answer-{number}"), answer.as_bytes())?;
        }
        let settings =
            [r#"{"preset":"dynamo","temperature":0.5}"#, r#"{"pending_hit_weight":1e-3,"wait_ms":7}"#];
        for (number, text) in settings.iter().enumerate() {
            self.write("kv_settings", &format!("settings-{number}"), text.as_bytes())?;
        }
        let worker =
            br#"{"url":"http://10.0.0.1:8000","engine":"vllm","name":"a","ranks":4,"headers":{"x-a":"b"}}"#;
        self.write("worker_json", "worker", worker)
    }
}

/// Files below `tests/FOLDER` that end so.
fn data(folder: &str, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(Path::new(TESTS).join(folder))? {
        let path = entry?.path();
        if path.is_dir() {
            let inner = path.strip_prefix(TESTS)?.to_string_lossy().into_owned();
            found.extend(data(&inner, ending)?);
        } else if path.extension().is_some_and(|known| known == ending) {
            found.push(path);
        }
    }
    Ok(found)
}

fn name(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The multipart messages of a frames file: a count of frames, then length and bytes of each.
fn messages(mut bytes: &[u8]) -> Vec<Vec<&[u8]>> {
    fn number(bytes: &mut &[u8]) -> Option<usize> {
        let (number, rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        usize::try_from(u32::from_be_bytes(*number)).ok()
    }
    let mut messages = Vec::new();
    while let Some(count) = number(&mut bytes) {
        let mut message = Vec::new();
        for _ in 0..count {
            let Some((frame, rest)) = number(&mut bytes).and_then(|length| bytes.split_at_checked(length))
            else {
                return messages;
            };
            message.push(frame);
            bytes = rest;
        }
        messages.push(message);
    }
    messages
}
