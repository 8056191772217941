//! `rankwise policy list`.

use std::fmt::Write as _;

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::admin::Admin;

/// List what can be activated, and what decides in each pool
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    admin: Admin,
}

impl List {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let policies = self.admin.ask(Method::GET, "/v1/policies", "")?;
        let pools = self.admin.ask(Method::GET, "/v1/pools", "")?;
        let text = table(&policies, &pools);
        let all = json!({ "policies": policies, "pools": pools["pools"] });
        self.admin.print(&all, text.trim_end())
    }
}

/// Two tables: pools, then policies.
fn table(policies: &Value, pools: &Value) -> String {
    let mut text = String::new();
    let cell = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let short =
        |digest: &Value| digest.as_str().and_then(|digest| digest.get(..12)).unwrap_or("-").to_owned();
    let _ = writeln!(text, "{:<16} {:<24} {:<13} {:<10}", "POOL", "POLICY", "DIGEST", "SERVING");
    for pool in pools["pools"].as_array().into_iter().flatten() {
        let policy = &pool["policy"];
        let active = &policy["active"];
        let (name, chosen) = (cell(&pool["name"]), cell(&active["policy"]));
        let (digest, serving) = (short(&active["digest"]), cell(&policy["serving"]));
        let _ = writeln!(text, "{name:<16} {chosen:<24} {digest:<13} {serving:<10}");
    }
    let _ = writeln!(text, "\n{:<24} {:<13} {:>10}  WHO, WHY", "POLICY", "DIGEST", "BYTES");
    for upload in policies["uploaded"].as_array().into_iter().flatten() {
        let why = [&upload["who"], &upload["reason"]].map(|text| text.as_str().unwrap_or_default());
        let why = why.join(" ");
        let (name, digest) = (cell(&upload["policy"]), short(&upload["digest"]));
        let _ = writeln!(text, "{name:<24} {digest:<13} {:>10}  {}", upload["bytes"], why.trim());
    }
    for name in policies["built_in"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "{:<24} {:<13} {:>10}  built in", cell(name), "-", "-");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_pools_and_policies() {
        let policies = json!({
            "built_in": ["kv"],
            "uploaded": [{ "policy": "mine@2", "digest": "0123456789abcdef", "bytes": 5, "who": "ci", "reason": null }],
        });
        let pools = json!({ "pools": [{ "name": "main", "policy": {
            "active": { "policy": "mine@2", "digest": "0123456789abcdef" }, "serving": "chosen" } }] });
        let text = table(&policies, &pools);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["main", "mine@2", "0123456789ab", "chosen"]);
        assert_eq!(lines[4], ["mine@2", "0123456789ab", "5", "ci"]);
        assert_eq!(lines[5], ["kv", "-", "-", "built", "in"]);
    }
}
