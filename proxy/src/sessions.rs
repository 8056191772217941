//! Which requests belong together: sessions, tenants and prompts that begin alike, as a policy is told of them.

use http::{HeaderMap, HeaderName};
use rankwise_core::hash::HashKey;
use rankwise_core::ids::{Millis, TargetId};
use rankwise_core::sessions::{Session, Sessions, stable_key};
use rankwise_prompt::SessionKeys;
use smallvec::SmallVec;

use crate::config;

/// Headers by which clients name their sessions, besides the configured one.
const HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-session-affinity"),
    HeaderName::from_static("x-dynamo-session-id"),
];

/// The sessions of a pool.
pub struct PoolSessions {
    header: Option<HeaderName>,
    tenant_header: Option<HeaderName>,
    prefix_tokens: usize,
    secret: HashKey,
    table: Sessions,
}

/// What one request belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Belongs {
    /// Its session, if the client names one.
    pub session: Option<Session>,
    /// Its tenant; 0 is none.
    pub tenant_key: u64,
}

impl PoolSessions {
    /// None yet.
    pub fn new(config: &config::Sessions, secret: &HashKey) -> Self {
        let ttl_ms = u64::try_from(config.ttl.as_millis()).unwrap_or(u64::MAX);
        Self {
            header: config.header.clone(),
            tenant_header: config.tenant_header.clone(),
            prefix_tokens: config.prefix_tokens.get() as usize,
            secret: secret.clone(),
            table: Sessions::new(config.sessions_max.get(), ttl_ms),
        }
    }

    /// The session is named by the configured header, else by one of the usual headers, else by the body.
    pub fn belongs(&self, headers: &HeaderMap, body: &SessionKeys) -> Belongs {
        let filled = |name: &HeaderName| filled(headers, name);
        let tenant_key = self.tenant_key(headers);
        let by_body = || body.prompt_cache_key.as_deref().map(str::as_bytes).filter(|key| !key.is_empty());
        let name = self.header.iter().chain(&HEADERS).find_map(filled).or_else(by_body);
        Belongs { session: name.map(|name| Session::named(name, tenant_key, &self.secret)), tenant_key }
    }

    /// The tenant of a request; 0 is none.
    pub fn tenant_key(&self, headers: &HeaderMap) -> u64 {
        self.tenant_header.as_ref().and_then(|name| filled(headers, name)).map_or(0, stable_key)
    }

    /// A hash of the prompt's first tokens, the same on every replica of the proxy; 0 without a token.
    pub fn prefix_key(&self, token_ids: &[u32]) -> u64 {
        let first = &token_ids[..token_ids.len().min(self.prefix_tokens)];
        if first.is_empty() {
            return 0;
        }
        let bytes: SmallVec<[u8; 1024]> = first.iter().flat_map(|id| id.to_le_bytes()).collect();
        stable_key(&bytes)
    }

    /// Where the session's last request went.
    pub fn home(&self, session: Session, now: Millis) -> Option<TargetId> {
        self.table.home(session, now)
    }

    /// A request of the session goes there. Where the one before went.
    pub fn settle(&self, session: Session, target: TargetId, now: Millis) -> Option<TargetId> {
        self.table.settle(session, target, now)
    }

    /// Sessions remembered.
    pub fn count(&self) -> usize {
        self.table.len()
    }
}

fn filled<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    headers.get(name).map(|value| value.as_bytes().trim_ascii()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
