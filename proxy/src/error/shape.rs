//! How an API's clients read errors.

use bytes::Bytes;
use serde_json::json;

use super::ProxyError;

/// Whose API was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// OpenAI's, and whatever has no shape of its own: <https://platform.openai.com/docs/guides/error-codes>, with the types that
    /// vLLM gives.
    #[default]
    OpenAi,
    /// Anthropic's: <https://docs.anthropic.com/en/api/errors>.
    Anthropic,
}

impl Shape {
    /// The body of an error.
    pub(super) fn body(self, error: &ProxyError) -> Bytes {
        let status = error.status.as_u16();
        let body = match self {
            Self::OpenAi => json!({ "error": {
                "message": error.message, "type": openai_type(status), "param": error.parameter, "code": status,
            }}),
            Self::Anthropic => {
                let message = match &error.parameter {
                    Some(parameter) if !error.message.contains(parameter.as_str()) => {
                        format!("{parameter}: {}", error.message)
                    }
                    _ => error.message.clone(),
                };
                json!({ "type": "error", "error": { "type": anthropic_type(status), "message": message } })
            }
        };
        Bytes::from(body.to_string())
    }

    /// What ends an event stream that cannot go on: an error event, then whatever mark clients wait for.
    pub(super) fn event_stream_end(self, error: &ProxyError) -> Bytes {
        let (before, after): (&[u8], &[u8]) = match self {
            Self::OpenAi => (b"data: ", b"\n\ndata: [DONE]\n\n"),
            Self::Anthropic => (b"event: error\ndata: ", b"\n\n"),
        };
        Bytes::from([before, &self.body(error), after].concat())
    }
}

fn openai_type(status: u16) -> &'static str {
    match status {
        404 => "NotFoundError",
        400..=499 => "BadRequestError",
        503 | 529 => "ServiceUnavailableError",
        504 => "GatewayTimeoutError",
        502 => "BadGatewayError",
        _ => "InternalServerError",
    }
}

fn anthropic_type(status: u16) -> &'static str {
    match status {
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        _ => "api_error",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::error::Stage;

    fn body(shape: Shape) -> Value {
        let error =
            ProxyError::new(Stage::Body, "messages: field required").parameter(Some("messages".into()));
        serde_json::from_slice(&shape.body(&error)).unwrap()
    }

    #[test]
    fn openai_names_field_and_code() {
        let expected = json!({ "error": {
            "message": "messages: field required", "type": "BadRequestError", "param": "messages", "code": 400,
        }});
        assert_eq!(body(Shape::OpenAi), expected);
    }

    #[test]
    fn anthropic_has_an_object_of_its_own() {
        let expected = json!({ "type": "error", "error": {
            "type": "invalid_request_error", "message": "messages: field required",
        }});
        assert_eq!(body(Shape::Anthropic), expected);
    }

    #[test]
    fn a_broken_stream_ends_as_its_clients_expect() {
        let end = |shape: Shape| {
            let error = ProxyError::new(Stage::Upstream, "the engine broke off");
            String::from_utf8(shape.event_stream_end(&error).to_vec()).unwrap()
        };
        let openai = end(Shape::OpenAi);
        assert!(openai.starts_with("data: {\"error\""));
        assert!(openai.ends_with("\n\ndata: [DONE]\n\n"));
        let anthropic = end(Shape::Anthropic);
        assert!(anthropic.starts_with("event: error\ndata: {\"type\":\"error\""));
        assert!(anthropic.ends_with("}\n\n"));
        assert!(!anthropic.contains("[DONE]"));
    }
}
