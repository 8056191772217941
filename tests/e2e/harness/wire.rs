//! The engines, each by its own wire: what is promised of one is promised of all.

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
    /// Without the shim: its events are drained, its ranks named in the body. They are of a model with sliding windows, and name
    /// blocks by digests, unfinished ones too.
    TrtllmDrained,
    /// The same, a build that chooses the rank itself.
    TrtllmBare,
    /// A worker behind Dynamo's frontend, of which config tells everything.
    Dynamo,
    /// A server that knows the OpenAI API and nothing else. One rank, as nobody sees more.
    Generic,
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
            Self::TrtllmBare => (EngineWire::Trtllm, TrtllmServer::Bare),
            Self::Generic => (EngineWire::Generic, TrtllmServer::Shim),
        };
        let ranks = if self == Self::Generic { 1 } else { spec.ranks };
        FleetSpec { engine, trtllm, ranks, varied_events: trtllm != TrtllmServer::Shim, ..spec }
    }

    /// Whether config says how many ranks a worker has.
    pub fn is_told_by_config(self) -> bool {
        matches!(self, Self::TrtllmDrained | Self::TrtllmBare | Self::Dynamo)
    }

    /// Whether a request can name its rank.
    pub fn names_ranks(self) -> bool {
        !matches!(self, Self::TrtllmBare | Self::Generic)
    }

    /// Whether its ranks tell KV events.
    pub fn tells_events(self) -> bool {
        self != Self::Generic
    }

    /// Whether each of them is told once, to whoever asks first.
    pub fn is_drained(self) -> bool {
        matches!(self, Self::TrtllmDrained | Self::TrtllmBare)
    }

    /// A worker's entry in a config: its name is its number's, its URL may be another's.
    pub fn entry(self, worker: &WorkerHandle, url: &str) -> Value {
        let ranks = worker.stats().len();
        let mut entry = json!({ "name": format!("w{}", worker.index()), "url": url });
        let by_config = match self {
            Self::Vllm => json!({ "engine": "vllm" }),
            Self::Sglang => json!({ "engine": "sglang" }),
            Self::Trtllm => json!({ "engine": "trtllm" }),
            Self::Generic => json!({ "engine": "generic", "block_size": 16 }),
            Self::TrtllmDrained | Self::TrtllmBare => {
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
        let workers: Vec<_> = fleet.workers().iter().map(|worker| self.entry_with_role(worker)).collect();
        let tokenizer = fleet.workers()[0].tokenizer_folder();
        let mut config = json!({ "pools": [{ "tokenizer": tokenizer, "workers": workers }] });
        merge(&mut config, more);
        // JSON is YAML.
        Proxy::configured_with(&config.to_string(), &[]).await
    }

    /// Where some workers compute prompts for the others only SGLang's say so themselves.
    fn entry_with_role(self, worker: &WorkerHandle) -> Value {
        let mut entry = self.entry(worker, &worker.url());
        let prefills = worker.spec().prefill_workers;
        if prefills > 0 && self != Self::Sglang {
            entry["role"] = if worker.index() < prefills { "prefill".into() } else { "decode".into() };
        }
        entry
    }

    /// Asks a rank past any proxy; where none can be named the engine chooses.
    pub async fn ask(self, fleet: &Fleet, worker: usize, rank: usize, seed: u64) -> Reply {
        let mut body = completion(seed, 200);
        if self == Self::TrtllmDrained {
            merge(&mut body, json!({ "attention_dp_rank": rank, "attention_dp_relax": false }));
        }
        let (rank, id) = (rank.to_string(), fleet.workers()[worker].instance_id().map(|id| id.to_string()));
        let mut headers = Vec::new();
        if self.names_ranks() && self != Self::TrtllmDrained {
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
