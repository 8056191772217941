//! The admin API of a running proxy, from outside.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use super::super::{launch, out};
use crate::config::BaseUrl;
use crate::upstream::Origin;

/// A large component takes this long to compile, about.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(180);
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Which proxy is meant, and how it is spoken to.
#[derive(Clone, Debug, Args)]
pub(super) struct Admin {
    /// Admin listener of the proxy
    #[arg(long, value_name = "URL", env = "RANKWISE_ADMIN", default_value = "http://127.0.0.1:9091")]
    admin: BaseUrl,
    /// What the proxy's config sets as `admin.token`
    #[arg(long, value_name = "TOKEN", env = "RANKWISE_ADMIN_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print the answer as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Whose change it is, for the proxy's log.
#[derive(Clone, Debug, Args)]
pub(super) struct By {
    /// Who changes it
    #[arg(long, value_name = "NAME", env = "USER")]
    pub(super) who: Option<String>,
    /// Why it is changed
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

impl By {
    /// Adds itself to a body.
    pub(super) fn sign(&self, mut body: Value) -> Value {
        for (key, text) in [("who", &self.who), ("reason", &self.reason)] {
            if let Some(text) = text {
                body[key] = json!(text);
            }
        }
        body
    }
}

/// The path of a pool's resource.
pub(super) fn pool_path(pool: &str, rest: &str) -> String {
    format!("/v1/pools/{pool}/{rest}")
}

/// A value of a query.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

impl Admin {
    /// One request; its answer.
    pub(super) fn ask(&self, method: Method, path: &str, body: impl Into<Bytes>) -> anyhow::Result<Value> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}")).context("--token")?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let origin = Origin { address: self.admin.authority(), headers, connect_timeout: ANSWER_TIMEOUT };
        let fetch = origin.fetch(method, path, body.into(), ANSWER_BYTES_MAX, ANSWER_TIMEOUT);
        let answer = launch::wait_for(fetch)?.with_context(|| format!("admin API at {}", self.admin))?;
        let value: Value = serde_json::from_slice(&answer.body)
            .with_context(|| format!("admin API at {}: no JSON, status {}", self.admin, answer.status))?;
        if !answer.status.is_success() {
            let message = value["error"]["message"].as_str().unwrap_or("no reason given");
            bail!("refused with status {}: {message}", answer.status.as_u16());
        }
        Ok(value)
    }

    /// Prints an answer: all of it as JSON if that was asked for, else this line.
    pub(super) fn print(&self, answer: &Value, line: &str) -> anyhow::Result<()> {
        if self.json { out::line(format_args!("{answer:#}")) } else { out::line(line) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_query_are_encoded() {
        assert_eq!(encoded("a-b_c.1"), "a-b_c.1");
        assert_eq!(encoded("100% é&x"), "100%25%20%C3%A9%26x");
    }
}
