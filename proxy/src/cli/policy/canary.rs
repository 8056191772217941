//! `rankwise policy canary` and `rankwise policy promote`.

use clap::{Args, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use super::activate::Choice;
use super::admin::{Admin, By, pool_path};

/// Have a policy decide for a share of the requests, or show the one that does
#[derive(Debug, Args)]
pub(in crate::cli) struct Canary {
    /// Name (its newest version), name@version, or sha256:DIGEST; default: show what there is
    policy: Option<String>,
    #[command(flatten)]
    choice: Choice,
    /// Its share, from 0.01 to 100
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0)]
    percent: f64,
    /// What it takes its share of; a session is taken as a whole
    #[arg(long, value_enum, default_value_t = Of::Request)]
    of: Of,
    /// End the canary
    #[arg(long, conflicts_with_all = ["policy", "settings"])]
    drop: bool,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    Request,
    Session,
}

impl Canary {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let pool = &self.choice.pool;
        let path = pool_path(pool, "canary");
        let answer = if self.drop {
            self.admin.ask(Method::DELETE, &path, self.by.sign(json!({})).to_string())?
        } else if let Some(policy) = &self.policy {
            let mut body = self.by.sign(self.choice.body(policy));
            body["percent"] = json!(self.percent);
            body["by"] = json!(match self.of {
                Of::Request => "request",
                Of::Session => "session",
            });
            self.admin.ask(Method::PUT, &path, body.to_string())?
        } else {
            self.admin.ask(Method::GET, &path, "")?
        };
        self.admin.print(&answer, &line(pool, &answer))
    }
}

fn line(pool: &str, answer: &Value) -> String {
    match answer["policy"].as_str() {
        Some(policy) => format!(
            "pool {pool}: canary {policy} decides for {} % by {}",
            answer["percent"],
            answer["by"].as_str().unwrap_or_default()
        ),
        None => format!("pool {pool}: no canary"),
    }
}

/// Make the canary the policy that decides for all requests
#[derive(Debug, Args)]
pub(in crate::cli) struct Promote {
    /// The pool
    #[arg(long, value_name = "NAME", default_value = "main")]
    pool: String,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    admin: Admin,
}

impl Promote {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let path = pool_path(&self.pool, "canary/promote");
        let answer = self.admin.ask(Method::POST, &path, self.by.sign(json!({})).to_string())?;
        let policy = answer["policy"].as_str().unwrap_or_default();
        self.admin.print(&answer, &format!("pool {}: {policy} decides", self.pool))
    }
}
