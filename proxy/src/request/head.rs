//! The head of a request: which API it calls, and which of its headers go on.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, HeaderName, HeaderValue, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, StatusCode, request};
use rankwise_engines::pin::is_client_rank_header;
use rankwise_prompt::Api;

use crate::error::{ProxyError, Shape, Stage};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// What an engine answers.
    Forwarded(Forwarded<'a>),
    /// The list of models: answered here, for all workers together.
    Models,
}

/// What is asked of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarded<'a> {
    /// An answer of a model: placed where the policy says.
    Generate(Api),
    /// The response of this id, which one server keeps: forwarded there.
    Kept(&'a str),
}

impl Forwarded<'_> {
    /// For metrics and logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Generate(api) => api.name(),
            Self::Kept(_) => "kept_response",
        }
    }
}

/// Finds the route. What is not on this list is not forwarded, so that an engine's admin paths are out of reach.
///
/// # Errors
/// 404 for a path that is not served, 405 for the wrong method.
pub(super) fn route<'a>(method: &Method, path: &'a str) -> Result<Route<'a>, ProxyError> {
    let (route, expected) = match (Api::from_path(path), path) {
        (Some(api), _) => (Route::Forwarded(Forwarded::Generate(api)), "POST"),
        (None, "/v1/models") => (Route::Models, "GET"),
        (None, path) if keeps_state(path) => {
            let message = "not served here: no engine keeps conversations, files or batches";
            return Err(ProxyError::new(Stage::Head, message).status(StatusCode::BAD_REQUEST));
        }
        (None, path) => match kept_response(path) {
            Some((id, methods)) => (Route::Forwarded(Forwarded::Kept(id)), methods),
            None => return Err(ProxyError::new(Stage::Head, "no such path here")),
        },
    };
    if expected.split(", ").any(|allowed| allowed == method.as_str()) {
        Ok(route)
    } else {
        Err(ProxyError::method_not_allowed(expected))
    }
}

/// The id in a path that asks for a response, and the methods of the path. Ids are those of engines: of characters that mean
/// nothing in a path.
fn kept_response(path: &str) -> Option<(&str, &'static str)> {
    let rest = path.strip_prefix(Api::Responses.path())?.strip_prefix('/')?;
    let (id, below) = rest.split_once('/').unwrap_or((rest, ""));
    let methods = match below {
        "" if rest.len() == id.len() => "GET, DELETE",
        "cancel" => "POST",
        "input_items" => "GET",
        _ => return None,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let is_id = id.bytes().all(plain) && id.bytes().any(|byte| byte != b'.');
    is_id.then_some((id, methods))
}

/// How the clients of this path read errors.
pub(super) fn shape(path: &str) -> Shape {
    if path.starts_with(Api::Messages.path()) { Shape::Anthropic } else { Shape::OpenAi }
}

/// Checks that a head is within its bounds. The connection reads a little more than this, so that what is only just too
/// large is answered in the API's words; far beyond, it is answered 431 without a body.
///
/// # Errors
/// 431 over `bytes_max` or `headers_max`.
pub(super) fn check_size(
    head: &request::Parts,
    bytes_max: usize,
    headers_max: usize,
) -> Result<(), ProxyError> {
    let too_large = |message: String| {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        Err(ProxyError::new(Stage::Head, message).status(status))
    };
    if head.headers.len() > headers_max {
        return too_large(format!("the head has more than {headers_max} fields"));
    }
    let path = head.uri.path_and_query().map_or(1, |path| path.as_str().len());
    let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    let bytes = head.method.as_str().len() + path + "  HTTP/1.1\r\n\r\n".len() + fields.sum::<usize>();
    if bytes > bytes_max {
        return too_large(format!("the head is larger than {bytes_max} bytes"));
    }
    Ok(())
}

/// Whether a path names things that a server would have to keep.
fn keeps_state(path: &str) -> bool {
    ["/v1/conversations", "/v1/files", "/v1/batches"].iter().any(|prefix| path.starts_with(prefix))
}

/// The header that carries a request's id, in both directions.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const REQUEST_ID_BYTES_MAX: usize = 128;

/// The client's request id if it is a plain short one, else a new one.
pub(super) fn request_id(headers: &HeaderMap) -> HeaderValue {
    let plain = |value: &&HeaderValue| {
        !value.is_empty()
            && value.len() <= REQUEST_ID_BYTES_MAX
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers.get(REQUEST_ID).filter(plain).cloned().unwrap_or_else(|| {
        let id = format!("{:032x}", fastrand::u128(..));
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("0"))
    })
}

/// Hop-by-hop headers (RFC 9110, 7.6.1), and those that the sender of a message sets itself.
const NOT_FORWARDED: [HeaderName; 8] =
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, CONTENT_LENGTH, EXPECT, HOST];

/// Takes out what must not travel further: hop-by-hop headers, those that `connection` names, every spelling in
/// which a client could choose a rank, and this proxy's own.
///
/// `accept-encoding` goes too: tokens are read from the answers.
pub(super) fn strip_request(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    headers.remove(ACCEPT_ENCODING);
    strip(headers, |name| name.starts_with(OWN) || is_client_rank_header(name));
}

/// The same for an answer.
pub(super) fn strip_response(headers: &mut HeaderMap) {
    let length = headers.get(CONTENT_LENGTH).cloned();
    strip_hop_by_hop(headers);
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, length);
    }
    strip(headers, |name| name.starts_with(OWN));
}

/// Whether the answer is an event stream.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.len() >= EVENT_STREAM.len() && kind[..EVENT_STREAM.len()].eq_ignore_ascii_case(EVENT_STREAM)
}

const EVENT_STREAM: &[u8] = b"text/event-stream";

/// What this proxy's own headers begin with.
const OWN: &str = "x-rankwise-";

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.into_iter().chain(NOT_FORWARDED) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers.remove("proxy-authenticate");
    headers.remove("proxy-authorization");
    headers.remove("proxy-connection");
}

fn strip(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    let named: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in named {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_paths_are_served() {
        assert_eq!(
            route(&Method::POST, "/v1/chat/completions").unwrap(),
            Route::Forwarded(Forwarded::Generate(Api::ChatCompletions))
        );
        for path in
            ["/metrics", "/reset_prefix_cache", "/v1/load_lora_adapter", "/sleep", "/kv_event_sources", "/"]
        {
            assert_eq!(route(&Method::POST, path).unwrap_err().status, 404);
        }
        for api in Api::ALL {
            assert_eq!(route(&Method::POST, api.path()).unwrap(), Route::Forwarded(Forwarded::Generate(api)));
        }
        for path in ["/v1/files", "/v1/batches/b", "/v1/conversations"] {
            assert_eq!(route(&Method::POST, path).unwrap_err().status, 400);
        }
        assert_eq!(route(&Method::GET, "/v1/completions").unwrap_err().status, 405);
    }

    #[test]
    fn a_response_is_asked_for_by_its_id_and_nothing_else_by_its_path() {
        let kept = |id| Ok::<_, u16>(Route::Forwarded(Forwarded::Kept(id)));
        let asked = |method, path| route(method, path).map_err(|error| error.status.as_u16());
        for method in [&Method::GET, &Method::DELETE] {
            assert_eq!(asked(method, "/v1/responses/resp_1-a.b"), kept("resp_1-a.b"));
        }
        assert_eq!(asked(&Method::POST, "/v1/responses/r/cancel"), kept("r"));
        assert_eq!(asked(&Method::GET, "/v1/responses/r/input_items"), kept("r"));
        for (method, path) in [
            (&Method::POST, "/v1/responses/r"),
            (&Method::GET, "/v1/responses/r/cancel"),
            (&Method::DELETE, "/v1/responses/r/input_items"),
        ] {
            assert_eq!(asked(method, path), Err(405), "{path}");
        }
        for path in [
            "/",
            "/..",
            "/.",
            "/r/",
            "/r/../../metrics",
            "/%2e%2e",
            "/r%2fcancel",
            "/r/other",
            "//cancel",
            "/é",
        ] {
            let path = format!("/v1/responses{path}");
            assert_eq!(route(&Method::GET, &path).unwrap_err().status, 404, "{path}");
        }
    }

    #[test]
    fn a_head_is_measured_as_http_1_writes_it() {
        let written = "GET /v1/models?x=1 HTTP/1.1\r\na: bc\r\na: \r\n\r\n";
        let request = http::Request::get("http://host/v1/models?x=1").header("a", "bc").header("a", "");
        let (head, ()) = request.body(()).unwrap().into_parts();
        assert!(check_size(&head, written.len(), 2).is_ok());
        assert_eq!(check_size(&head, written.len() - 1, 2).unwrap_err().status, 431);
        assert_eq!(check_size(&head, written.len(), 1).unwrap_err().status, 431);
    }

    #[test]
    fn a_clients_choice_of_rank_is_taken_out() {
        let mut headers = HeaderMap::new();
        for name in
            ["x-data-parallel-rank", "connection", "x-secret-hop", "x-rankwise-worker", "authorization"]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("x-secret-hop"));
        }
        strip_request(&mut headers);
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key("authorization"));
    }

    #[test]
    fn odd_request_ids_are_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("abc-1"));
        assert_eq!(request_id(&headers), "abc-1");
        headers.insert(REQUEST_ID, HeaderValue::from_static("with space"));
        assert_eq!(request_id(&headers).len(), 32);
    }
}
