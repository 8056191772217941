//! The request as an engine gets it: the client's own, pinned.

use bytes::Bytes;
use http::header::{HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Uri, request};
use rankwise_engines::Engine;
use rankwise_engines::disaggregation::Field;
use rankwise_engines::trtllm::{CONVERSATION_FIELD, conversation_params};
use rankwise_engines::vllm::cold::{REPORT_FIELD, REPORT_VALUE};
use rankwise_prompt::{has_field, splice};
use smallvec::SmallVec;

use super::Accepted;
use super::head;
use super::place::Placed;
use super::prefill::PrefillPlace;
use crate::clock;
use crate::error::{ProxyError, Stage};
use crate::upstream::UpstreamBody;
use crate::workers::{Pin, Worker};

/// The request for the engine that was chosen; `leg` is written into it where it is a part of one.
///
/// # Errors
/// When the rank is named in the body and the body is no JSON object.
pub(super) fn request(
    placed: &Placed,
    accepted: &Accepted<'_>,
    leg: &[Field],
) -> Result<Request<UpstreamBody>, ProxyError> {
    let pin = placed.rank().map_or(&placed.worker.left_open, |rank| &rank.pin);
    // Where a rank is named, no conversation is.
    let session = accepted.belongs.session.filter(|_| placed.rank.is_none());
    let conversation =
        session.and_then(|session| Conversation::told(placed.worker.engine, session.key(), &accepted.body));
    let by_body = conversation.as_ref().and_then(Conversation::field);
    let body = own_fields(placed, pin, leg, by_body, accepted.body.clone())?;
    let mut request = addressed(&placed.worker, accepted.head, accepted.id, body);
    let headers = request.headers_mut();
    if let Some((name, value)) = &pin.header {
        headers.insert(name, value.clone());
    }
    if let Some((name, value)) = conversation.and_then(Conversation::header) {
        headers.insert(name, value);
    }
    Ok(request)
}

/// The client's request for a worker: no rank is named.
pub(super) fn addressed(
    worker: &Worker,
    client: &request::Parts,
    id: &HeaderValue,
    body: UpstreamBody,
) -> Request<UpstreamBody> {
    let mut request = Request::new(body);
    *request.method_mut() = client.method.clone();
    // Only the path: a query is no part of these APIs, and some engines read settings from it.
    *request.uri_mut() = Uri::try_from(client.uri.path()).unwrap_or_default();
    let headers = request.headers_mut();
    *headers = client.headers.clone();
    head::strip_request(headers);
    for (name, value) in &worker.headers {
        headers.insert(name, value.clone());
    }
    headers.insert(HOST, worker.authority.clone());
    headers.insert(head::REQUEST_ID, id.clone());
    request
}

/// What has an engine that chooses the rank itself keep a session on one: the session's key, which is its tenant's own and the
/// same on every replica of the proxy.
#[derive(Debug, PartialEq, Eq)]
enum Conversation {
    /// In a header.
    Header(&'static str, String),
    /// In the body, where the client's own would win over the header. Only there: versions that do not know the field refuse it.
    Field(Field),
}

impl Conversation {
    /// How this engine is told that a request with this body is of that session; `None` where it keeps none.
    fn told(engine: Engine, key: u64, body: &[u8]) -> Option<Self> {
        let header = engine.conversation_header()?;
        let id = format!("{key:016x}");
        let has_own = has_field(body, CONVERSATION_FIELD) == Ok(true);
        Some(if has_own {
            Self::Field((CONVERSATION_FIELD, conversation_params(&id)))
        } else {
            Self::Header(header, id)
        })
    }

    fn field(&self) -> Option<&Field> {
        match self {
            Self::Field(field) => Some(field),
            Self::Header(..) => None,
        }
    }

    fn header(self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            // Sixteen hexadecimal digits are a header value.
            Self::Header(name, id) => Some((HeaderName::from_static(name), HeaderValue::try_from(id).ok()?)),
            Self::Field(_) => None,
        }
    }
}

/// The client's bytes, and at their end what this proxy has to say to the rank.
fn own_fields(
    placed: &Placed,
    pin: &Pin,
    leg: &[Field],
    conversation: Option<&Field>,
    body: Bytes,
) -> Result<UpstreamBody, ProxyError> {
    let mut fields: SmallVec<[(&str, &str); 2]> =
        pin.fields.iter().chain(conversation).map(|(name, json)| (*name, json.as_str())).collect();
    // A whole request says so to a worker that could take a part: whence KV comes is never the client's to say.
    let leg = if leg.is_empty() { &placed.worker.closed } else { leg };
    fields.extend(leg.iter().map(|(name, json)| (*name, json.as_str())));
    fields.extend(report_wish(placed, &body));
    if fields.is_empty() {
        return Ok(body.into());
    }
    let spliced = splice::append_all(&body, &fields)
        .map_err(|error| ProxyError::new(Stage::Body, error.to_string()))?;
    Ok(UpstreamBody::spliced(spliced.head, spliced.tail))
}

/// The field that has a rank with cold roots report what it holds.
fn report_wish(placed: &Placed, body: &Bytes) -> Option<(&'static str, &'static str)> {
    let (rank, now) = (placed.rank()?, clock::now());
    let cold = rank.cold.as_ref().filter(|cold| cold.wants_report(now))?;
    // Of two fields of one name engines take the last: the client's own would be lost.
    if has_field(body, REPORT_FIELD) != Ok(false) {
        return None;
    }
    cold.report_asked(now);
    rank.metrics.cold_reports.inc();
    Some((REPORT_FIELD, REPORT_VALUE))
}

/// Says in the answer's head where it comes from.
pub(super) fn expose_decision(headers: &mut HeaderMap, placed: &Placed, prefill: Option<&PrefillPlace>) {
    if let Some(prefill) = prefill {
        headers.insert("x-rankwise-prefill-worker", prefill.worker.clone());
        if let Some(rank) = prefill.dp_rank {
            headers.insert("x-rankwise-prefill-dp-rank", HeaderValue::from(rank));
        }
    }
    headers.insert("x-rankwise-worker", placed.worker.name.clone());
    headers.insert("x-rankwise-policy", placed.policy.clone());
    // Where the engine cannot be told, it is not known which rank serves.
    if let Some(rank) = placed.dp_rank() {
        headers.insert("x-rankwise-dp-rank", HeaderValue::from(rank));
        headers.insert("x-rankwise-overlap-blocks", HeaderValue::from(placed.overlap_blocks));
    }
    if let Some(expected) = placed.expected {
        headers.insert("x-rankwise-expected-cached-tokens", HeaderValue::from(expected.held_tokens));
        headers.insert("x-rankwise-pending-cached-tokens", HeaderValue::from(expected.pending_tokens));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_named_where_the_client_has_named_its_own() {
        let told = |engine, body: &str| Conversation::told(engine, 0x1f, body.as_bytes());
        for body in [r#"{"prompt":"conversation_params"}"#, r#"{"conversation_params":null}"#] {
            let header = Conversation::Header("x-session-id", "000000000000001f".to_owned());
            assert_eq!(told(Engine::Trtllm, body), Some(header), "{body}");
        }
        let field = (CONVERSATION_FIELD, r#"{"conversation_id":"000000000000001f"}"#.to_owned());
        let own = r#"{"a":1, "conversation\u005fparams":{"conversation_id":"x"}}"#;
        assert_eq!(told(Engine::Trtllm, own), Some(Conversation::Field(field)));
        assert_eq!(told(Engine::Vllm, "{}"), None);
    }
}
