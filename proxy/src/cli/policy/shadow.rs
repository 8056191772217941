//! `rankwise policy shadow`.

use clap::Args;
use http::Method;
use serde_json::Value;

use super::activate::Choice;
use super::admin::{Admin, By, pool_path};

/// Have a policy decide along without being followed, or show how it compares
///
/// Without a policy, shows how the shadow that there is compares with the policy that is followed.
#[derive(Debug, Args)]
pub(in crate::cli) struct Shadow {
    /// Name (its newest version), name@version, or sha256:DIGEST; default: show what there is
    policy: Option<String>,
    #[command(flatten)]
    choice: Choice,
    /// End the shadow
    #[arg(long, conflicts_with_all = ["policy", "settings"])]
    drop: bool,
    #[command(flatten)]
    by: By,
    #[command(flatten)]
    admin: Admin,
}

impl Shadow {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let pool = &self.choice.pool;
        let path = pool_path(pool, "shadow");
        let answer = if self.drop {
            self.admin.ask(Method::DELETE, &path, self.by.sign(serde_json::json!({})).to_string())?
        } else if let Some(policy) = &self.policy {
            self.admin.ask(Method::PUT, &path, self.by.sign(self.choice.body(policy)).to_string())?
        } else {
            self.admin.ask(Method::GET, &path, "")?
        };
        self.admin.print(&answer, &line(pool, &answer))
    }
}

fn line(pool: &str, answer: &Value) -> String {
    let Some(policy) = answer["policy"].as_str() else { return format!("pool {pool}: no shadow") };
    let compared = &answer["compared"];
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let both = |what: &str| {
        let of = &compared[what];
        format!("{} against {}", number(&of["shadow"]), number(&of["followed"]))
    };
    let agreement = compared["agreement"]
        .as_f64()
        .map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0));
    format!(
        "pool {pool}: shadow {policy}: agreement {agreement} ({} agreed, {} differed, {} failed, {} dropped)\n  \
         expected cached tokens {}, booked prefill tokens on its targets {}, booked requests {}",
        number(&compared["agreed"]),
        number(&compared["differed"]),
        number(&compared["failed"]),
        number(&compared["dropped"]),
        both("expected_cached_tokens"),
        both("booked_prefill_tokens"),
        both("booked_requests"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comparison_is_one_that_can_be_read() {
        let answer = serde_json::json!({ "policy": "kv@1", "compared": {
            "agreed": 3, "differed": 1, "failed": 0, "dropped": 2, "agreement": 0.75,
            "expected_cached_tokens": { "followed": 10, "shadow": 90 },
            "booked_prefill_tokens": { "followed": 1, "shadow": 2 },
            "booked_requests": { "followed": 3, "shadow": 4 },
        } });
        let line = line("main", &answer);
        assert!(line.starts_with(
            "pool main: shadow kv@1: agreement 75.0 % (3 agreed, 1 differed, 0 failed, 2 dropped)"
        ));
        assert!(line.contains("expected cached tokens 90 against 10"), "{line}");
        assert_eq!(super::line("main", &Value::Null), "pool main: no shadow");
    }
}
