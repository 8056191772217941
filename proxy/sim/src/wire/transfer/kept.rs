//! vLLM and TensorRT-LLM: the prefill's answer names what it keeps, and whoever answers fetches that, once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::super::ask::Ask;
use super::super::refusal::Refused;
use super::super::site::{Role, Site};
use super::leg::Leg;
use rankwise_prompt::Api;

/// Where vLLM's side channels begin.
const SIDE_CHANNEL_PORT: usize = 5600;
/// More than a double holds exactly.
const FIRST_REQUEST_ID: u64 = (1 << 53) + 1;
/// Prompts that are kept at the same time; the oldest expires.
const KEPT_MAX: usize = 1024;

/// What is kept, as it was told.
#[derive(Debug, Default)]
pub(super) struct Kept {
    prompts: Mutex<Vec<(Value, Vec<u32>)>>,
    told: AtomicU64,
}

impl Kept {
    pub(super) fn vllm(
        &self,
        role: Role,
        ask: &Ask,
        fields: &Map<String, Value>,
        prompt: &[u32],
    ) -> Result<Leg, Refused> {
        let Some(params) = fields.get("kv_transfer_params").filter(|params| !params.is_null()) else {
            return Ok(Leg::Whole);
        };
        if params["do_remote_decode"] == true {
            return check_prefill(role, ask);
        }
        if params["do_remote_prefill"] != true {
            return Ok(Leg::Whole);
        }
        self.fetch(role, params, prompt)
    }

    pub(super) fn keep_vllm(&self, site: &Site, rank: usize, prompt: &[u32], answer: &mut Value) {
        let number = self.told.fetch_add(1, Relaxed);
        let global = site.start_rank() + rank;
        let blocks = prompt.len().div_ceil(site.spec.block_size as usize);
        let first = number * 1000;
        let params = json!({
            "do_remote_prefill": true, "do_remote_decode": false,
            "remote_block_ids": [(first..first + blocks as u64).collect::<Vec<_>>()],
            "remote_engine_id": format!("engine-{}-dp{global}", site.index),
            "remote_request_id": format!("cmpl-{number:08x}"), "remote_host": "127.0.0.1",
            "remote_port": SIDE_CHANNEL_PORT + global, "tp_size": 1, "dcp_size": 1, "pp_size": 1,
            "remote_num_tokens": prompt.len(), "transfer_mode": "read",
        });
        self.keep(params.clone(), prompt);
        answer["kv_transfer_params"] = params;
    }

    pub(super) fn trtllm(
        &self,
        role: Role,
        ask: &Ask,
        fields: &Map<String, Value>,
        prompt: &[u32],
    ) -> Result<Leg, Refused> {
        let Some(params) = fields.get("disaggregated_params").filter(|params| !params.is_null()) else {
            return Ok(Leg::Whole);
        };
        match params["request_type"].as_str() {
            Some("context_only") => check_prefill(role, ask),
            Some("generation_only") => {
                let ids = if ask.api == Api::ChatCompletions { "prompt_token_ids" } else { "prompt" };
                if fields.get(ids) != Some(&json!(prompt)) {
                    return Err(Refused::body("prompt_token_ids: not those of the context"));
                }
                let mut asked = params.clone();
                asked["request_type"] = "context_only".into();
                self.fetch(role, &asked, prompt)
            }
            _ => Ok(Leg::Whole),
        }
    }

    pub(super) fn keep_trtllm(&self, site: &Site, rank: usize, prompt: &[u32], answer: &mut Value) {
        let number = self.told.fetch_add(1, Relaxed);
        let params = json!({
            "request_type": "context_only", "first_gen_tokens": [number], "ctx_request_id": FIRST_REQUEST_ID + number,
            "encoded_opaque_state": format!("b3BhcXVl{}{rank}", site.index), "draft_tokens": null, "ctx_dp_rank": rank,
        });
        self.keep(params.clone(), prompt);
        answer["choices"][0]["disaggregated_params"] = params;
        answer["prompt_token_ids"] = prompt.into();
    }

    fn keep(&self, params: Value, prompt: &[u32]) {
        let mut prompts = self.prompts.lock();
        if prompts.len() == KEPT_MAX {
            prompts.remove(0);
        }
        prompts.push((params, prompt.to_vec()));
    }

    /// Only what was told, to the letter, and only once.
    fn fetch(&self, role: Role, params: &Value, prompt: &[u32]) -> Result<Leg, Refused> {
        let mut prompts = self.prompts.lock();
        let at = prompts.iter().position(|(told, tokens)| told == params && tokens == prompt);
        match at {
            Some(at) if role == Role::Decode => {
                prompts.remove(at);
                Ok(Leg::Fetched)
            }
            _ => Err(Refused::body("no such KV is kept for this prompt")),
        }
    }
}

/// An only prefill of one token, told at once.
fn check_prefill(role: Role, ask: &Ask) -> Result<Leg, Refused> {
    if role != Role::Prefill || ask.stream || ask.max_tokens != Some(1) || ask.n != 1 {
        return Err(Refused::body("a prefill is one token, not streamed, of a worker that prefills"));
    }
    Ok(Leg::Keeps)
}
