//! What came of sending a request to an engine: for the metrics, for the rank, for the client.

use http::StatusCode;

use super::Answer;
use crate::error::{ProxyError, Stage};
use crate::health::Failure;
use crate::metrics::Attempt;
use crate::pool::Pool;
use crate::upstream::SendError;
use crate::workers::Worker;

/// What came of sending it, for the metrics.
pub(super) fn result_of(
    sent: &Result<Answer, SendError>,
    is_declined: impl Fn(StatusCode) -> bool,
) -> Attempt {
    match sent {
        Ok((response, _)) if is_declined(response.status()) => Attempt::Declined,
        Ok(_) => Attempt::Answered,
        Err(SendError::Connect(_)) => Attempt::ConnectFailed,
        Err(SendError::Full(_)) => Attempt::Full,
        Err(SendError::Unsent) => Attempt::Unsent,
        Err(SendError::Broken(_)) => Attempt::Broken,
        Err(SendError::TimedOut(_)) => Attempt::TimedOut,
    }
}

/// Whether it was connecting that failed. That concerns all ranks of the worker, so its health is told: a refusal is looked
/// into at once and found within milliseconds; silence would keep whoever looks waiting as long again.
pub(super) fn tell_if_unconnected(pool: &Pool, worker: &Worker, error: &SendError) -> bool {
    match error {
        SendError::Connect(cause) if cause.kind() == std::io::ErrorKind::TimedOut => {
            pool.worker_unreachable(worker);
        }
        SendError::Connect(_) => worker.look_after(),
        SendError::Full(_) | SendError::Unsent | SendError::Broken(_) | SendError::TimedOut(_) => {
            return false;
        }
    }
    true
}

/// What it says of the rank. What a failed connection says it says of the worker: [`tell_if_unconnected`].
pub(super) fn failure_of(sent: &Result<Answer, SendError>) -> Option<Failure> {
    match sent {
        Ok((response, _)) => {
            matches!(response.status().as_u16(), 500 | 502 | 503 | 504).then_some(Failure::ServerError)
        }
        Err(SendError::Broken(_)) => Some(Failure::Broken),
        Err(SendError::TimedOut(_)) => Some(Failure::Silent),
        Err(SendError::Connect(_) | SendError::Full(_) | SendError::Unsent) => None,
    }
}

/// What the client is told: never where the engine is.
pub(super) fn send_error(error: &SendError) -> ProxyError {
    match error {
        SendError::Connect(_) | SendError::Full(_) | SendError::Unsent => {
            ProxyError::new(Stage::Connect, "no connection to an engine")
        }
        SendError::Broken(_) => ProxyError::new(Stage::Upstream, "the engine broke off"),
        SendError::TimedOut(within) => {
            ProxyError::new(Stage::UpstreamTimeout, format!("the engine did not answer within {within:?}"))
        }
    }
}
