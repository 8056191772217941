//! The request as an engine gets it: the client's own, pinned.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{HeaderMap, Request, Uri, request};
use rankwise_engines::vllm::cold::{REPORT_FIELD, REPORT_VALUE};
use rankwise_engines::vllm::pin::CLIENT_RANK_HEADERS;
use rankwise_prompt::{has_field, splice};

use super::head;
use super::place::Placed;
use crate::clock;
use crate::upstream::UpstreamBody;

/// The request for the engine that was chosen.
pub(super) fn request(
    placed: &Placed,
    client: &request::Parts,
    body: Bytes,
    id: &HeaderValue,
) -> Request<UpstreamBody> {
    let mut request = Request::new(own_fields(placed, body));
    *request.method_mut() = client.method.clone();
    // Only the path: a query is no part of these APIs, and some engines read settings from it.
    *request.uri_mut() = Uri::try_from(client.uri.path()).unwrap_or_default();
    let headers = request.headers_mut();
    *headers = client.headers.clone();
    head::strip_request(headers);
    for (name, value) in &placed.worker.headers {
        headers.insert(name, value.clone());
    }
    headers.insert(HOST, placed.worker.authority.clone());
    headers.insert(head::REQUEST_ID, id.clone());
    if let Some(pin) = placed.rank().and_then(|rank| rank.pin.clone()) {
        headers.insert(CLIENT_RANK_HEADERS[0], pin);
    }
    request
}

/// The client's bytes, and at their end what this proxy has to say to the rank.
fn own_fields(placed: &Placed, body: Bytes) -> UpstreamBody {
    let Some(rank) = placed.rank() else { return body.into() };
    let now = clock::now();
    let Some(cold) = rank.cold.as_ref().filter(|cold| cold.wants_report(now)) else { return body.into() };
    // Of two fields of one name engines take the last: the client's own would be lost.
    if has_field(&body, REPORT_FIELD) != Ok(false) {
        return body.into();
    }
    let Ok(spliced) = splice::append(&body, REPORT_FIELD, REPORT_VALUE) else { return body.into() };
    cold.report_asked(now);
    rank.metrics.cold_reports.inc();
    UpstreamBody::spliced(spliced.head, spliced.tail)
}

/// Whether the answer is an event stream.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.len() >= EVENT_STREAM.len() && kind[..EVENT_STREAM.len()].eq_ignore_ascii_case(EVENT_STREAM)
}

const EVENT_STREAM: &[u8] = b"text/event-stream";

/// Says in the answer's head where it comes from.
pub(super) fn expose_decision(headers: &mut HeaderMap, placed: &Placed) {
    headers.insert("x-rankwise-worker", placed.worker.name.clone());
    headers.insert("x-rankwise-policy", placed.policy.clone());
    // Where the engine cannot be told, it is not known which rank serves.
    if let Some(rank) = placed.rank().filter(|rank| rank.target.spec.pinnable) {
        headers.insert("x-rankwise-dp-rank", HeaderValue::from(rank.target.spec.rank.0));
        headers.insert("x-rankwise-overlap-blocks", HeaderValue::from(placed.overlap_blocks));
    }
    if let Some(expected) = placed.expected {
        headers.insert("x-rankwise-expected-cached-tokens", HeaderValue::from(expected.held_tokens));
        headers.insert("x-rankwise-pending-cached-tokens", HeaderValue::from(expected.pending_tokens));
    }
}
