//! `rankwise policy rollback`.

use anyhow::Context as _;
use clap::Args;
use http::Method;
use serde_json::json;

use super::admin::{Admin, By, pool_path};

/// Go back to the policy that a pool had before
#[derive(Debug, Args)]
pub(in crate::cli) struct Rollback {
    /// The pool
    #[arg(long, value_name = "NAME", default_value = "main")]
    pool: String,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    admin: Admin,
}

impl Rollback {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let path = pool_path(&self.pool, "policy/rollback");
        let answer = self.admin.ask(Method::POST, &path, self.by.sign(json!({})).to_string())?;
        let policy = answer["policy"].as_str().context("the answer names no policy")?;
        self.admin.print(&answer, &format!("pool {}: {policy} decides", self.pool))
    }
}
