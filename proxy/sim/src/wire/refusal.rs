//! Error answers in vLLM's words.

use http::StatusCode;
use serde_json::{Value, json};

/// Why a request is not served.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    kind: &'static str,
    param: Option<&'static str>,
    message: String,
}

/// An error, and whether it is told in the stream.
pub(crate) type Failure = (Refused, bool);

impl Refused {
    fn bad(message: String, param: Option<&'static str>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "BadRequestError", param, message }
    }

    pub(crate) fn body(message: &str) -> Self {
        Self::bad(message.to_owned(), None)
    }

    pub(crate) fn rank(rank: &str, ranks: usize) -> Self {
        Self::bad(format!("data_parallel_rank {rank} is out of range [0, {ranks})."), None)
    }

    pub(crate) fn missing(field: &'static str) -> Self {
        let location = if field == "messages" { "body.messages" } else { "body.prompt" };
        Self {
            kind: "Bad Request",
            ..Self::bad(
                format!(
                    "1 validation error:\n  {{'type': 'missing', 'loc': '{location}', 'msg': 'Field required', 'input': '<dict>'}}"
                ),
                Some(location),
            )
        }
    }

    pub(crate) fn unknown_model(asked: &str, served: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "NotFoundError",
            param: Some("model"),
            message: format!("The model `{asked}` does not exist. Valid aliases: {served}."),
        }
    }

    pub(crate) fn unknown_response(id: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "invalid_request_error",
            param: Some("response_id"),
            message: format!("Response with id '{id}' not found."),
        }
    }

    pub(crate) fn too_long(prompt: usize, model_len: u32) -> Self {
        Self::bad(
            format!(
                "This model's maximum context length is {model_len} tokens. However, your prompt contains at least {prompt} input \
                 tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt. \
                 (parameter=input_tokens, value={prompt})"
            ),
            Some("input_tokens"),
        )
    }

    pub(crate) fn body_too_large() -> Self {
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..Self::body("request body too large") }
    }

    pub(crate) fn overloaded() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            kind: "ServiceUnavailableError",
            param: None,
            message: "too many waiting requests".to_owned(),
        }
    }

    pub(crate) fn asleep() -> Self {
        Self { message: "the engine is paused".to_owned(), ..Self::overloaded() }
    }

    pub(crate) fn internal() -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            kind: "InternalServerError",
            param: None,
            message: "EngineCore encountered an issue. See stack trace (above) for the root cause."
                .to_owned(),
        }
    }

    /// The body of an error answer.
    pub(crate) fn json(&self) -> Value {
        json!({"error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.status.as_u16(),
        }})
    }

    /// The same as an event of a stream; vLLM writes this one with blanks.
    pub(crate) fn event(&self) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let param = self.param.map_or_else(|| "null".to_owned(), quoted);
        format!(
            "data: {{\"error\": {{\"message\": {}, \"type\": {}, \"param\": {param}, \"code\": {}}}}}\n\n",
            quoted(&self.message),
            quoted(self.kind),
            self.status.as_u16()
        )
    }
}
