//! Token ids by asking an engine: one worker, one request, remembered.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rankwise_core::target::Availability;
use rankwise_prompt::{Api, Body};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::PromptWork;
use crate::upstream::Origin;
use crate::workers::{Worker, Workers};

/// Bounds of asking.
#[derive(Clone, Copy, Debug)]
pub struct PromptLimits {
    /// Longest wait; the request is routed by load after that.
    pub timeout: Duration,
    /// Answers remembered.
    pub entries_max: usize,
    /// Largest answer, bytes.
    pub answer_bytes_max: usize,
    /// Largest body that is read for its prompt at all, bytes.
    pub prompt_bytes_max: usize,
}

/// Asks `/tokenize`, and remembers by the exact request.
pub struct RemoteTokenizer {
    limits: PromptLimits,
    remembered: Mutex<Generations>,
}

/// Two generations: when the younger is full, the elder is dropped. What is asked for again moves to the younger.
#[derive(Default)]
struct Generations {
    younger: HashMap<u64, Arc<[u32]>>,
    elder: HashMap<u64, Arc<[u32]>>,
}

impl Generations {
    fn get(&mut self, key: u64, half_max: usize) -> Option<Arc<[u32]>> {
        if let Some(ids) = self.younger.get(&key) {
            return Some(Arc::clone(ids));
        }
        let ids = self.elder.remove(&key)?;
        self.put(key, Arc::clone(&ids), half_max);
        Some(ids)
    }

    fn put(&mut self, key: u64, ids: Arc<[u32]>, half_max: usize) {
        if self.younger.len() >= half_max {
            self.elder = std::mem::take(&mut self.younger);
        }
        self.younger.insert(key, ids);
    }
}

#[derive(Deserialize)]
struct Answer {
    tokens: Vec<u32>,
}

impl RemoteTokenizer {
    /// One that remembers nothing yet.
    pub fn new(limits: PromptLimits) -> Self {
        Self { limits, remembered: Mutex::default() }
    }

    /// Its bounds.
    pub fn limits(&self) -> &PromptLimits {
        &self.limits
    }

    /// The ids, or `None` if the engine does not tell them in time.
    pub async fn token_ids(&self, workers: &Workers, body: &Body, work: &PromptWork) -> Option<Vec<u32>> {
        let request = tokenize_request(body.api(), body.bytes())?;
        let key = work.cache.key().bytes(&request);
        let half_max = (self.limits.entries_max / 2).max(1);
        if let Some(ids) = self.remembered.lock().get(key, half_max) {
            return Some(ids.to_vec());
        }
        let worker = any_worker(workers)?;
        let origin = Origin {
            address: worker.address.clone(),
            headers: worker.headers.clone(),
            connect_timeout: self.limits.timeout,
        };
        let answer = origin
            .post("/tokenize", Bytes::from(request), self.limits.answer_bytes_max, self.limits.timeout)
            .await;
        let answer = match answer {
            Ok(answer) if answer.status.is_success() => answer,
            Ok(answer) => {
                tracing::debug!(worker = worker.name(), status = %answer.status, "tokenize");
                return None;
            }
            Err(error) => {
                tracing::debug!(worker = worker.name(), %error, "tokenize");
                return None;
            }
        };
        let length = answer.body.len();
        let read = move || serde_json::from_slice::<Answer>(&answer.body);
        let ids = work.read_numbers(length, read).await?.ok()?.tokens;
        self.remembered.lock().put(key, ids.as_slice().into(), half_max);
        Some(ids)
    }
}

/// What decides over the ids in a chat body, as vLLM's `/tokenize` takes it.
const CHAT_FIELDS: [&str; 9] = [
    "model",
    "messages",
    "tools",
    "chat_template",
    "chat_template_kwargs",
    "add_generation_prompt",
    "continue_final_message",
    "add_special_tokens",
    "mm_processor_kwargs",
];

/// The question that has this body's ids for an answer. `None` for a body that has no text to ask about.
fn tokenize_request(api: Api, body: &[u8]) -> Option<Vec<u8>> {
    let mut fields: BTreeMap<&str, &RawValue> = serde_json::from_slice(body).ok()?;
    match api {
        Api::ChatCompletions => fields.retain(|name, _| CHAT_FIELDS.contains(name)),
        Api::Completions => {
            fields.retain(|name, _| ["model", "prompt", "add_special_tokens"].contains(name));
            // Of several prompts the first decides.
            let prompt = *fields.get("prompt")?;
            if let Ok(prompts) = serde_json::from_str::<Vec<&RawValue>>(prompt.get()) {
                fields.insert("prompt", prompts.first()?);
            }
        }
        // The endpoint knows the two.
        _ => return None,
    }
    serde_json::to_vec(&fields).ok()
}

fn any_worker(workers: &Workers) -> Option<Arc<Worker>> {
    let ready = |worker: &Arc<Worker>| {
        worker.ranks.iter().any(|rank| rank.target.health.availability() == Availability::Ready)
    };
    workers.current().iter().find(|worker| ready(worker)).cloned()
}
