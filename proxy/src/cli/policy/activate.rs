//! `rankwise policy activate`.

use anyhow::Context as _;
use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use super::admin::{Admin, By, pool_path};
use crate::config::Fallback;

/// Put a policy into force in a pool; returns when every decision that starts from then on uses it
#[derive(Debug, Args)]
pub(in crate::cli) struct Activate {
    /// Name (its newest version), name@version, or sha256:DIGEST
    policy: String,
    #[command(flatten)]
    choice: Choice,
    /// What decides when it fails: least-loaded or round-robin; default: as before
    #[arg(long, value_name = "NAME")]
    fallback: Option<Fallback>,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    admin: Admin,
}

/// For which pool, and how.
#[derive(Clone, Debug, Args)]
pub(super) struct Choice {
    /// The pool
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(super) pool: String,
    /// Its settings, a JSON object
    #[arg(long, value_name = "JSON", value_parser = settings)]
    settings: Option<Map<String, Value>>,
}

impl Choice {
    /// As the admin API takes it.
    pub(super) fn body(&self, policy: &str) -> Value {
        json!({ "policy": policy, "settings": self.settings.clone().unwrap_or_default() })
    }
}

fn settings(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("expected a JSON object: {error}"))
}

impl Activate {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut body = self.by.sign(self.choice.body(&self.policy));
        if let Some(fallback) = self.fallback {
            body["fallback"] = json!(fallback.name());
        }
        let pool = &self.choice.pool;
        let answer = self.admin.ask(Method::PUT, &pool_path(pool, "policy"), body.to_string())?;
        let policy = answer["policy"].as_str().context("the answer names no policy")?;
        self.admin.print(&answer, &format!("pool {pool}: {policy} decides"))
    }
}
