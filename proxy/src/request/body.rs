//! The body of a request: read whole, bounded in size and time, kept as the client's bytes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::error::{ProxyError, Stage};

/// Reads a body.
///
/// # Errors
/// 413 over `bytes_max`, 408 after `within`, 400 if the client broke off.
pub(super) async fn collect(
    mut body: Incoming,
    bytes_max: usize,
    within: Duration,
) -> Result<Bytes, ProxyError> {
    let too_large = || {
        let message = format!("the body is larger than {bytes_max} bytes");
        ProxyError::new(Stage::Body, message).status(StatusCode::PAYLOAD_TOO_LARGE)
    };
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let end = Instant::now() + within;
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let frame = match timeout_at(end, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) => return Err(ProxyError::new(Stage::Body, "the body broke off")),
            Err(_) => {
                let message = format!("the body did not arrive within {within:?}");
                return Err(ProxyError::new(Stage::Body, message).status(StatusCode::REQUEST_TIMEOUT));
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + rest.len() + data.len() > bytes_max {
            return Err(too_large());
        }
        // Most bodies come in one frame, which is then the body without a copy.
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}
