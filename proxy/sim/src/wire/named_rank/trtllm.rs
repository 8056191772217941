//! Where TensorRT-LLM looks for a rank, behind rankwise's shim or bare.

use http::HeaderMap;
use serde_json::{Map, Value};

use super::super::rank_header;
use super::super::refusal::Refused;
use crate::TrtllmServer;

/// The rank that a request names; `None` where the engine is to choose. The shim takes one clean number and nothing else.
pub(super) fn read(headers: &HeaderMap, ranks: usize) -> Result<Option<usize>, Refused> {
    let mut values = headers.get_all(rank_header::NAME).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits =
        Some(value.as_bytes()).filter(|bytes| bytes.len() < 10 && bytes.iter().all(u8::is_ascii_digit));
    let number = digits.and_then(|bytes| std::str::from_utf8(bytes).ok()?.parse::<usize>().ok());
    match number {
        Some(rank) if rank < ranks && values.next().is_none() => Ok(Some(rank)),
        _ => Err(Refused::body(&format!("data_parallel_rank is not one number in [0, {ranks})"))),
    }
}

/// What the request models of a server know, as far as clients of ours use it: any other field is refused.
const FIELDS: [&str; 12] = [
    "model",
    "messages",
    "prompt",
    "prompt_token_ids",
    "max_tokens",
    "max_completion_tokens",
    "stream",
    "stream_options",
    "n",
    "temperature",
    "disaggregated_params",
    "conversation_params",
];

/// The rank that a request names in its body, to a server without the shim.
pub(super) fn read_bare(server: TrtllmServer, body: &[u8], ranks: usize) -> Result<Option<usize>, Refused> {
    let fields: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| Refused::body(&error.to_string()))?;
    let of_rank = |name: &str| matches!(name, "attention_dp_rank" | "attention_dp_relax");
    let known =
        |name: &str| FIELDS.contains(&name) || (server == TrtllmServer::BareWithRankFields && of_rank(name));
    if let Some(name) = fields.keys().find(|name| !known(name)) {
        return Err(Refused::body(&format!("{name}: Extra inputs are not permitted")));
    }
    match fields.get("attention_dp_rank").filter(|rank| !rank.is_null()) {
        // Relaxed, it is a wish.
        Some(_) if fields.get("attention_dp_relax") != Some(&Value::Bool(false)) => Ok(None),
        // Nobody checks it: the executor's loop ends.
        Some(rank) => match rank.as_u64().and_then(|rank| usize::try_from(rank).ok()) {
            Some(rank) if rank < ranks => Ok(Some(rank)),
            _ => Err(Refused::internal()),
        },
        None => Ok(None),
    }
}
