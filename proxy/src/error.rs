//! Everything that can go wrong between a client and an engine, and the one place that turns it into HTTP.

mod shape;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use rankwise_prompt::BodyError;

pub use shape::Shape;

/// Where in a request's way it failed: the value of `x-rankwise-error` and of the metric label `stage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Path, method or headers.
    Head,
    /// The body: size, time, JSON, types.
    Body,
    /// The model is not served here.
    Model,
    /// The policy refused, or there is nothing to pick from.
    Decision,
    /// No room or no time left in the queue.
    Queue,
    /// No connection to the worker.
    Connect,
    /// The worker broke off, or answered something that is not HTTP.
    Upstream,
    /// The worker took too long.
    UpstreamTimeout,
    /// The proxy is shutting down.
    Shutdown,
    /// A fault of the proxy itself.
    Internal,
}

impl Stage {
    /// All stages, for the metrics reference.
    pub const ALL: [Self; 10] = [
        Self::Head,
        Self::Body,
        Self::Model,
        Self::Decision,
        Self::Queue,
        Self::Connect,
        Self::Upstream,
        Self::UpstreamTimeout,
        Self::Shutdown,
        Self::Internal,
    ];

    /// The label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Body => "body",
            Self::Model => "model",
            Self::Decision => "decision",
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Upstream => "upstream",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::Shutdown => "shutdown",
            Self::Internal => "internal",
        }
    }
}

/// An error for the client. Its message never holds an upstream address.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}", stage.name())]
pub struct ProxyError {
    /// Where.
    pub stage: Stage,
    /// What the client is told.
    pub message: String,
    /// The status, where the stage alone does not say it.
    pub status: StatusCode,
    /// The field of the body that was wrong.
    pub parameter: Option<String>,
    /// Seconds after which trying again makes sense.
    pub retry_after_s: Option<u32>,
    /// The methods of the path, where another was used.
    pub allow: Option<&'static str>,
}

impl ProxyError {
    /// An error with the status that its stage implies.
    pub fn new(stage: Stage, message: impl Into<String>) -> Self {
        let status = match stage {
            Stage::Head | Stage::Model => StatusCode::NOT_FOUND,
            Stage::Body => StatusCode::BAD_REQUEST,
            Stage::Decision | Stage::Queue | Stage::Shutdown => StatusCode::SERVICE_UNAVAILABLE,
            Stage::Connect | Stage::Upstream => StatusCode::BAD_GATEWAY,
            Stage::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Stage::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let retry_after_s = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self { stage, message: message.into(), status, parameter: None, retry_after_s, allow: None }
    }

    /// The same with another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// 405: the path is served, but only by this method.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let error = Self::new(Stage::Head, format!("{allow} is the method of this path"));
        Self { status: StatusCode::METHOD_NOT_ALLOWED, allow: Some(allow), ..error }
    }

    /// The same, naming the field that was wrong.
    #[must_use]
    pub fn parameter(mut self, parameter: Option<String>) -> Self {
        self.parameter = parameter;
        self
    }

    /// The same, with or without a time to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: Option<u32>) -> Self {
        self.retry_after_s = seconds;
        self
    }

    /// The whole response, for clients of that API.
    pub fn response<B: From<Bytes>>(&self, shape: Shape) -> Response<B> {
        let mut response = Response::new(B::from(shape.body(self)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("x-rankwise-error", HeaderValue::from_static(self.stage.name()));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }

    /// What ends an event stream that cannot go on.
    pub fn event_stream_end(&self, shape: Shape) -> Bytes {
        shape.event_stream_end(self)
    }
}

impl From<BodyError> for ProxyError {
    fn from(error: BodyError) -> Self {
        Self::new(Stage::Body, error.to_string()).parameter(error.param().map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[test]
    fn overload_says_when_to_come_back() {
        let response = ProxyError::new(Stage::Decision, "no dp rank is available")
            .response::<Full<Bytes>>(Shape::OpenAi);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["x-rankwise-error"], "decision");
    }

    #[test]
    fn a_wrong_method_is_told_the_right_one() {
        let response = ProxyError::method_not_allowed("POST").response::<Full<Bytes>>(Shape::OpenAi);
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["allow"], "POST");
    }
}
