//! Receipts of decisions.

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::query::{self, parameter};
use super::{Answered, Refused};
use crate::pool::Pool;

/// Receipts in one answer, unless it says otherwise.
const LIMIT: usize = 20;
const REQUEST_ID_BYTES_MAX: usize = 256;

/// `?limit=N` and `?request_id=ID`: the last receipts.
pub(super) fn list(pool: &Pool, query: &str) -> Answered {
    let limit = query::limit(query)?.unwrap_or(LIMIT);
    let request_id = parameter(query, "request_id");
    let workers = pool.workers.current();
    let name = |number| {
        let worker = workers.get(rankwise_core::ids::WorkerId(number))?;
        Some(worker.name().to_owned())
    };
    let receipts = pool.decisions.receipts(limit, request_id.as_deref());
    let receipts: Vec<Value> = receipts.iter().map(|receipt| receipt.json(&name)).collect();
    Ok((StatusCode::OK, json!({ "decisions": receipts })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arm {
    request_id: String,
}

/// Has the next request with this id leave a receipt.
pub(super) fn arm(pool: &Pool, body: &Bytes) -> Answered {
    let wanted: Arm = serde_json::from_slice(body).map_err(Refused::bad)?;
    let id = wanted.request_id;
    if id.is_empty() || id.len() > REQUEST_ID_BYTES_MAX {
        return Err(Refused::bad(format!("`request_id` must be of 1 to {REQUEST_ID_BYTES_MAX} bytes")));
    }
    if !pool.decisions.arm(&id) {
        return Err(Refused::new(StatusCode::TOO_MANY_REQUESTS, "too many receipts are waited for"));
    }
    Ok((StatusCode::ACCEPTED, json!({ "request_id": id })))
}
