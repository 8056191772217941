//! `GET /v1/models`: what all workers of all pools serve, each model once.

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;

use super::AnswerBody;
use crate::pool::Pools;

/// The merged list, in the OpenAI shape. Says nothing of where a worker keeps its model.
pub(super) fn list(pools: &Pools) -> Response<AnswerBody> {
    let cards: Vec<_> = pools
        .models()
        .into_iter()
        .map(|model| json!({ "id": model, "object": "model", "created": 0, "owned_by": "rankwise" }))
        .collect();
    let list = json!({ "object": "list", "data": cards });
    let mut response = Response::new(AnswerBody::from(Bytes::from(list.to_string())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
