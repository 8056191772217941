//! What a TensorRT-LLM worker is: as the shim tells it, or one row of which little is known.

use rankwise_core::ids::DpRank;
use serde::Deserialize;

use crate::disaggregation::Role;
use crate::discovery::{
    self, Answers, Blindness, EventEndpoints, Overrides, RANKS_MAX, RankDescription, WorkerDescription,
};
use crate::error::Error;
use crate::pin::Pinning;

/// Paths to ask with GET besides the models. The first is the shim's.
pub const PATHS: [&str; 2] = [WORKER, "/version"];

pub(super) const WORKER: &str = "/rankwise/worker";

const SHIM: &str = "start trtllm-serve by proxy/engines/shim/rankwise_trtllm.py";
const EVENTS: &str = "set kv_cache_config.event_buffer_max_size, such as 16384, in its options";
const CACHING: &str = "set kv_cache_config.enable_block_reuse in its options";
const BACKEND: &str = "start it with --backend pytorch: with any other all of its GPUs are one rank";
const ATTENTION_DP: &str = "set enable_attention_dp in its options: without it all of its GPUs are one rank";

/// The backend that has ranks.
const PYTORCH: &str = "pytorch";
/// Settings that are named at most.
const SETTINGS_MAX: usize = 8;

/// What the shim tells of the server it runs. Sockets of rank `r` are on the `r`th port from the first.
#[derive(Debug, Deserialize)]
struct Told {
    ranks: u32,
    #[serde(default)]
    tensor_parallel_size: Option<u32>,
    #[serde(default)]
    block_size: Option<u32>,
    #[serde(default)]
    blocks: Option<u32>,
    #[serde(default)]
    block_reuse: Option<bool>,
    #[serde(default)]
    events: Option<Sockets>,
    #[serde(default)]
    model_path: Option<String>,
    #[serde(default)]
    backend: Option<String>,
    /// Settings by which the engine places requests itself.
    #[serde(default)]
    overruled_by: Vec<String>,
    #[serde(default)]
    unreadable_events: u64,
    /// Ranks whose events it has stopped to publish.
    #[serde(default)]
    silent_ranks: Vec<u32>,
}

impl Told {
    /// What leaves kv blind, by its own word.
    fn findings(&self) -> Vec<Blindness> {
        let mut findings = Vec::new();
        if self.block_reuse == Some(false) {
            findings.push(Blindness::PrefixCachingOff { start: CACHING });
        }
        if self.events.is_none() {
            findings.push(Blindness::EventsOff { start: EVENTS });
        }
        if self.backend.as_deref().is_some_and(|backend| backend != PYTORCH) {
            findings.push(Blindness::RankNotTaken { start: BACKEND });
        } else if self.ranks == 1 && self.tensor_parallel_size.is_some_and(|size| size > 1) {
            findings.push(Blindness::RankNotTaken { start: ATTENTION_DP });
        }
        let overruled =
            |setting: &String| Blindness::RankOverruled { setting: format!("attention_dp_config.{setting}") };
        findings.extend(self.overruled_by.iter().take(SETTINGS_MAX).map(overruled));
        if self.unreadable_events > 0 {
            findings.push(Blindness::EventsUnreadable { count: self.unreadable_events });
        }
        let silent = self.silent_ranks.iter().filter(|rank| **rank < self.ranks);
        findings.extend(silent.map(|rank| Blindness::RankWithoutEvents { global_rank: *rank }));
        findings
    }
}

#[derive(Debug, Deserialize)]
struct Sockets {
    port: u16,
    replay_port: u16,
    #[serde(default)]
    topic: String,
}

/// Puts together what the worker at `host` answered; see [`crate::Engine::describe`].
///
/// # Errors
/// If the shim's answer is not of its shape.
pub(crate) fn describe(
    host: &str,
    answers: &Answers<'_>,
    overrides: &Overrides,
) -> Result<WorkerDescription, Error> {
    let models = answers.get("/v1/models").map(discovery::models).transpose()?.unwrap_or_default();
    let version = answers.get("/version").and_then(discovery::version);
    let Some(body) = answers.get(WORKER) else {
        let capacity = overrides.capacity_blocks.unwrap_or(0);
        let takes_rank = overrides.takes_rank_fields == Some(true);
        let drained = overrides.drain_events;
        // Where no rank can be named, only what is told of each makes a difference between them.
        let count = overrides.ranks()?.filter(|_| takes_rank || drained).unwrap_or(1);
        let group = |number| if overrides.independent_ranks { number } else { 0 };
        let mut findings = Vec::new();
        if !takes_rank {
            findings.push(Blindness::RankNotTaken { start: SHIM });
        }
        if !drained {
            findings.push(Blindness::EventsOff { start: SHIM });
        } else if overrides.block_size.is_none() {
            findings.push(Blindness::BlockSizeUnknown);
        }
        return Ok(WorkerDescription {
            ranks: (0..count).map(|number| rank(number, group(number), capacity, None)).collect(),
            pinning: if takes_rank { Pinning::AttentionDpFields } else { Pinning::Nothing },
            block_size: overrides.block_size,
            prefix_caching: None,
            max_model_len: None,
            role: Role::Aggregated,
            bootstrap_port: None,
            models,
            tokenizer_source: None,
            version,
            drained,
            instances: Vec::new(),
            findings,
        });
    };
    let told: Told = serde_json::from_slice(body).map_err(|source| Error::Json { path: WORKER, source })?;
    let ranks = overrides.ranks()?.unwrap_or(told.ranks);
    if ranks == 0 || ranks as usize > RANKS_MAX {
        return Err(Error::Answer { path: WORKER, what: "ranks: not between 1 and 4096" });
    }
    let (block_size, finding) = overrides.block_size(told.block_size);
    let mut findings: Vec<_> = finding.into_iter().collect();
    findings.extend(told.findings());
    let capacity = overrides.capacity_blocks.or(told.blocks).unwrap_or(0);
    let ranks = (0..ranks).map(|number| {
        let group = if overrides.independent_ranks { number } else { 0 };
        let events = told.events.as_ref().and_then(|sockets| endpoints(host, number, sockets));
        if events.is_none() && told.events.is_some() {
            findings.push(Blindness::RankWithoutEvents { global_rank: number });
        }
        rank(number, group, capacity, events)
    });
    Ok(WorkerDescription {
        ranks: ranks.collect(),
        pinning: Pinning::Header,
        block_size,
        prefix_caching: told.block_reuse,
        max_model_len: None,
        role: Role::Aggregated,
        bootstrap_port: None,
        models,
        tokenizer_source: told.model_path,
        version,
        // The shim is the one who drains.
        drained: false,
        instances: Vec::new(),
        findings,
    })
}

fn rank(number: u32, group: u32, capacity_blocks: u32, events: Option<EventEndpoints>) -> RankDescription {
    RankDescription {
        header_rank: DpRank(number),
        global_rank: number,
        group,
        capacity_blocks,
        events,
        load: None,
    }
}

fn endpoints(host: &str, rank: u32, sockets: &Sockets) -> Option<EventEndpoints> {
    let socket = |first: u16| {
        let endpoint = discovery::offset(&format!("tcp://*:{first}"), rank)?;
        discovery::reachable(&endpoint, host)
    };
    let replay = Some(socket(sockets.replay_port)?);
    Some(EventEndpoints { live: socket(sockets.port)?, replay, topic: sockets.topic.clone() })
}

#[cfg(test)]
mod tests {
    use rankwise_core::ids::BlockSize;

    use super::*;

    const MODELS: &[u8] = br#"{"data":[{"id":"m","owned_by":"tensorrt_llm"}]}"#;
    const TOLD: &str = r#"{"ranks":4,"tensor_parallel_size":4,"block_size":32,"blocks":2231,"block_reuse":true,
        "events":{"port":5557,"replay_port":5657,"topic":""},"model_path":"/models/m"}"#;

    fn described(told: &str, overrides: Overrides) -> Result<WorkerDescription, Error> {
        let answers = Answers::default().with("/v1/models", MODELS).with("/rankwise/worker", told.as_bytes());
        describe("10.0.0.1", &answers, &overrides)
    }

    #[test]
    fn the_shim_tells_ranks_and_sockets() {
        let worker = described(TOLD, Overrides::default()).unwrap();
        assert_eq!(worker.ranks.len(), 4);
        let events = worker.ranks[3].events.as_ref().unwrap();
        assert_eq!(
            (events.live.as_str(), events.replay.as_deref()),
            ("tcp://10.0.0.1:5560", Some("tcp://10.0.0.1:5660"))
        );
        assert!(worker.ranks.iter().all(|rank| (rank.group, rank.capacity_blocks) == (0, 2231)));
        assert_eq!((worker.pinning, worker.block_size), (Pinning::Header, Some(BlockSize(32))));
        assert!(worker.findings.is_empty(), "{:?}", worker.findings);
    }

    #[test]
    fn a_bare_server_is_one_row_that_chooses_its_rank_itself() {
        let worker =
            describe("h", &Answers::default().with("/v1/models", MODELS), &Overrides::default()).unwrap();
        assert_eq!((worker.ranks.len(), worker.pinning), (1, Pinning::Nothing));
        let names: Vec<_> = worker.findings.iter().map(Blindness::name).collect();
        assert_eq!(names, ["rank_not_taken", "events_off"]);
        assert!(worker.findings.iter().all(|finding| finding.to_string().contains("rankwise_trtllm.py")));
    }

    #[test]
    fn a_bare_server_whose_events_are_drained_has_ranks_of_its_own() {
        let bare = Answers::default().with("/v1/models", MODELS);
        let config = Overrides { ranks: Some(4), drain_events: true, ..Overrides::default() };
        let worker = describe("h", &bare, &config).unwrap();
        assert_eq!((worker.ranks.len(), worker.pinning, worker.drained), (4, Pinning::Nothing, true));
        let names: Vec<_> = worker.findings.iter().map(Blindness::name).collect();
        assert_eq!(names, ["rank_not_taken", "block_size_unknown"]);
        let config = Overrides { takes_rank_fields: Some(true), block_size: Some(BlockSize(32)), ..config };
        let worker = describe("h", &bare, &config).unwrap();
        assert_eq!((worker.pinning, worker.findings), (Pinning::AttentionDpFields, vec![]));
        assert!(!described(TOLD, config).unwrap().drained, "the shim is the one who drains");
    }

    #[test]
    fn blind_spots_are_named() {
        let told = r#"{"ranks":1,"tensor_parallel_size":8,"block_reuse":false}"#;
        let worker = described(told, Overrides::default()).unwrap();
        let names: Vec<_> = worker.findings.iter().map(Blindness::name).collect();
        assert_eq!(names, ["block_size_unknown", "prefix_caching_off", "events_off", "rank_not_taken"]);
        let told = TOLD.replace(
            "\"ranks\":4",
            r#""ranks":4,"backend":"pytorch","overruled_by":["enable_kv_cache_aware_routing"],
               "unreadable_events":3,"silent_ranks":[2,9]"#,
        );
        let worker = described(&told, Overrides::default()).unwrap();
        let said: Vec<_> = worker.findings.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].contains("attention_dp_config.enable_kv_cache_aware_routing"), "{said:?}");
        assert!(said[1].contains('3') && said[2].contains("rank 2"), "{said:?}");
        let told = TOLD.replace("\"ranks\":4", r#""ranks":1,"backend":"_autodeploy""#);
        let worker = described(&told, Overrides::default()).unwrap();
        assert_eq!(worker.findings, [Blindness::RankNotTaken { start: BACKEND }]);
        let last_ports = TOLD.replace("5657", "65534");
        let worker = described(&last_ports, Overrides::default()).unwrap();
        assert_eq!(worker.findings.len(), 2, "{:?}", worker.findings);
    }

    #[test]
    fn another_block_size_than_the_engines_is_named() {
        let sized = |tokens| Overrides { block_size: Some(BlockSize(tokens)), ..Overrides::default() };
        let worker = described(TOLD, sized(64)).unwrap();
        assert_eq!(worker.block_size, Some(BlockSize(64)));
        assert_eq!(worker.findings, [Blindness::BlockSizeMismatch { config: 64, engine: 32 }]);
        assert_eq!(described(TOLD, sized(32)).unwrap().findings, []);
    }

    #[test]
    fn other_answers_are_errors() {
        for told in [
            "[]",
            "{}",
            "<html>",
            "{\"ranks\":0}",
            "{\"ranks\":5000}",
            "{\"ranks\":1,\"events\":{\"port\":-1}}",
        ] {
            assert!(described(told, Overrides::default()).is_err(), "{told}");
        }
    }
}
