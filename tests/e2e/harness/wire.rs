//! The engines that tell KV events, each by its own wire: what is promised of one is promised of all.

use rankwise_sim::{EngineWire, Fleet, FleetSpec, TrtllmServer, WorkerHandle};
use serde_json::{Value, json};

use super::{Client, Proxy, Reply, address_of, completion};

/// How an engine is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Vllm,
    Sglang,
    /// Behind rankwise's shim.
    Trtllm,
    /// Without the shim: its events are drained, its ranks named in the body.
    TrtllmDrained,
    /// A worker behind Dynamo's frontend, of which config tells everything.
    Dynamo,
}

impl Wire {
    /// The spec, spoken so.
    pub fn spec(self, spec: FleetSpec) -> FleetSpec {
        let (engine, trtllm) = match self {
            Self::Vllm => (EngineWire::Vllm, TrtllmServer::Shim),
            Self::Dynamo => (EngineWire::Dynamo, TrtllmServer::Shim),
            Self::Sglang => (EngineWire::Sglang, TrtllmServer::Shim),
            Self::Trtllm => (EngineWire::Trtllm, TrtllmServer::Shim),
            Self::TrtllmDrained => (EngineWire::Trtllm, TrtllmServer::BareWithRankFields),
        };
        FleetSpec { engine, trtllm, ..spec }
    }

    /// Whether config says how many ranks a worker has.
    pub fn is_told_by_config(self) -> bool {
        matches!(self, Self::TrtllmDrained | Self::Dynamo)
    }

    /// A worker's entry in a config: its name is its number's, its URL may be another's.
    pub fn entry(self, worker: &WorkerHandle, url: &str) -> Value {
        let ranks = worker.stats().len();
        let mut entry = json!({ "name": format!("w{}", worker.index()), "url": url });
        let by_config = match self {
            Self::Vllm => json!({ "engine": "vllm" }),
            Self::Sglang => json!({ "engine": "sglang" }),
            Self::Trtllm => json!({ "engine": "trtllm" }),
            Self::TrtllmDrained => {
                json!({ "engine": "trtllm", "ranks": ranks, "block_size": 16, "drain_events": true })
            }
            Self::Dynamo => {
                let sockets = |rank| {
                    let (endpoint, replay) = (worker.event_endpoint(rank), worker.replay_endpoint(rank));
                    json!({ "endpoint": endpoint, "replay": replay, "topic": "kv-events" })
                };
                json!({
                    "engine": "dynamo", "ranks": ranks, "block_size": 16, "blocks": 2048,
                    "events": (0..ranks).map(sockets).collect::<Vec<_>>(),
                })
            }
        };
        merge(&mut entry, by_config);
        entry
    }

    /// A proxy in front of all workers of a fleet; every rank may be picked when this returns. `more` goes into the config.
    pub async fn serving(self, fleet: &Fleet, more: Value) -> Proxy {
        let proxy = self.starting(fleet, more).await;
        proxy.all_ready(fleet).await;
        proxy
    }

    /// The same, and some rank may be picked when this returns.
    pub async fn starting(self, fleet: &Fleet, more: Value) -> Proxy {
        let workers: Vec<_> =
            fleet.workers().iter().map(|worker| self.entry(worker, &worker.url())).collect();
        let tokenizer = fleet.workers()[0].tokenizer_folder();
        let mut config = json!({ "pools": [{ "tokenizer": tokenizer, "workers": workers }] });
        merge(&mut config, more);
        // JSON is YAML.
        Proxy::configured_with(&config.to_string(), &[]).await
    }

    /// Asks a rank past any proxy.
    pub async fn ask(self, fleet: &Fleet, worker: usize, rank: usize, seed: u64) -> Reply {
        let mut body = completion(seed, 200);
        if self == Self::TrtllmDrained {
            merge(&mut body, json!({ "attention_dp_rank": rank, "attention_dp_relax": false }));
        }
        let (rank, id) = (rank.to_string(), fleet.workers()[worker].instance_id().map(|id| id.to_string()));
        let mut headers = Vec::new();
        if self != Self::TrtllmDrained {
            headers.push(("x-data-parallel-rank", rank.as_str()));
        }
        headers.extend(id.as_deref().map(|id| ("x-worker-instance-id", id)));
        let client = Client::new(address_of(fleet, worker));
        let reply = client.send(http::Method::POST, "/v1/completions", &headers, body.to_string()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply
    }
}

/// Adds the fields of another object to an object.
fn merge(object: &mut Value, other: Value) {
    let Value::Object(fields) = other else { panic!("no object: {other}") };
    for (name, value) in fields {
        object[name] = value;
    }
}
