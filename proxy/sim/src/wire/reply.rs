//! What answers are made of.

use std::io;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

use super::answer::DONE;
use super::refusal::Refused;

/// What every answer's body is.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(text_body(String::new()));
    *response.status_mut() = status;
    response
}

pub(super) fn text_body(text: String) -> Body {
    Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn json(status: StatusCode, json: &Value) -> Response<Body> {
    let mut response = typed("application/json", text_body(json.to_string()));
    *response.status_mut() = status;
    response
}

pub(super) fn event_stream(body: Body) -> Response<Body> {
    typed("text/event-stream; charset=utf-8", body)
}

/// An answer whose body is of this content type.
pub(super) fn typed(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(super) fn refuse(refused: &Refused) -> Response<Body> {
    json(refused.status, &refused.json())
}

/// A stream that holds nothing but the error.
pub(super) fn refuse_in_stream(refused: &Refused) -> Response<Body> {
    event_stream(text_body(refused.event() + DONE))
}
