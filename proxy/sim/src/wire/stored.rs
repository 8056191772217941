//! Responses that a server keeps: what it answers about them by their ids, as vLLM 0.33's does, and how later requests go on from them.

use std::collections::VecDeque;
use std::sync::Arc;

use http::{Method, Response, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::refusal::Refused;
use super::reply::{self, Body};
use crate::EngineWire;

/// Responses that are kept; the oldest go. vLLM keeps all, TensorRT-LLM 16.
const KEPT_MAX: usize = 4096;

/// The responses of one process.
#[derive(Debug, Default)]
pub(super) struct Stored(Mutex<VecDeque<Kept>>);

#[derive(Clone, Debug)]
struct Kept {
    id: String,
    response: Value,
    is_background: bool,
    /// What was said up to its end; none while it is being made.
    said: Option<Arc<[u32]>>,
}

impl Stored {
    /// Begins a response that is made in the background.
    pub(super) fn begin(&self, id: &str, response: Value) {
        self.put(Kept { id: id.to_owned(), response, is_background: true, said: None });
    }

    /// Keeps a response that has been made of these tokens, prompt and answer; not in place of one that was cancelled.
    pub(super) fn keep(&self, id: &str, response: Value, said: Vec<u32>) {
        let before = self.get(id);
        if before.as_ref().is_none_or(|kept| kept.response["status"] != "cancelled") {
            let is_background = before.is_some_and(|kept| kept.is_background);
            self.put(Kept { id: id.to_owned(), response, is_background, said: Some(said.into()) });
        }
    }

    /// What was said before a request that goes on from a response.
    pub(super) fn said(&self, id: &str) -> Result<Arc<[u32]>, Refused> {
        self.get(id).and_then(|kept| kept.said).ok_or_else(|| Refused::unknown_response(id))
    }

    /// As a new process.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }

    /// What is answered on the paths below `/v1/responses/`; none is TensorRT-LLM's but the first, which it also deletes by.
    pub(super) fn answer(&self, engine: EngineWire, method: &Method, path: &str) -> Option<Response<Body>> {
        if !matches!(engine, EngineWire::Vllm | EngineWire::Sglang | EngineWire::Trtllm) {
            return None;
        }
        let rest = path.strip_prefix("/v1/responses/")?;
        let (id, below) = rest.split_once('/').unwrap_or((rest, ""));
        let cancels = below == "cancel" && engine != EngineWire::Trtllm;
        if !below.is_empty() && !cancels {
            return None;
        }
        let Some(kept) = self.get(id) else {
            return Some(reply::refuse(&Refused::unknown_response(id)));
        };
        Some(match (method, cancels) {
            (&Method::GET, false) => reply::json(StatusCode::OK, &kept.response),
            (&Method::DELETE, false) if engine == EngineWire::Trtllm => {
                self.remove(id);
                reply::json(StatusCode::OK, &json!({"id": id, "object": "response", "deleted": true}))
            }
            (&Method::POST, true) => self.cancel(kept),
            _ => reply::json(StatusCode::METHOD_NOT_ALLOWED, &json!({"detail": "Method Not Allowed"})),
        })
    }

    fn cancel(&self, mut kept: Kept) -> Response<Body> {
        if !kept.is_background || kept.said.is_some() {
            return reply::refuse(&Refused::body("Cannot cancel a synchronous response."));
        }
        kept.response["status"] = "cancelled".into();
        let answer = reply::json(StatusCode::OK, &kept.response);
        self.put(kept);
        answer
    }

    fn get(&self, id: &str) -> Option<Kept> {
        self.0.lock().iter().find(|kept| kept.id == id).cloned()
    }

    fn remove(&self, id: &str) {
        self.0.lock().retain(|kept| kept.id != id);
    }

    fn put(&self, kept: Kept) {
        self.remove(&kept.id);
        let mut all = self.0.lock();
        if all.len() >= KEPT_MAX {
            all.pop_front();
        }
        all.push_back(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_kept_until_its_process_ends_and_a_cancelled_one_stays_cancelled() {
        let stored = Stored::default();
        stored.keep("a", json!({"status": "completed"}), vec![1, 2]);
        assert_eq!(*stored.said("a").unwrap(), [1, 2]);
        assert_eq!(stored.said("b").unwrap_err().status, 404);
        stored.begin("c", json!({"status": "cancelled"}));
        stored.keep("c", json!({"status": "completed"}), vec![3]);
        assert!(stored.said("c").is_err());
        for number in 0..KEPT_MAX {
            stored.keep(&format!("other {number}"), json!({}), vec![]);
        }
        assert!(stored.said("a").is_err(), "the oldest goes");
        stored.forget();
        assert!(stored.said("other 9").is_err());
    }
}
