//! A generation request as it came.

use http::HeaderMap;
use rankwise_prompt::Api;

use super::io::Breaker;

/// A request that nobody has read yet.
pub(super) struct Incoming<'a> {
    pub(super) api: Api,
    /// Its number in the log of arrivals.
    pub(super) arrival: u64,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
    /// Of the connection that it came by.
    pub(super) breaker: Breaker,
}
