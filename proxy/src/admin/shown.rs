//! How a pool's policies look in answers.

use rankwise_policy_host::Activation;
use serde_json::{Value, json};

use crate::metrics::serving_name;
use crate::pool::Pool;

/// What decides, what decided before, and what is on trial.
pub(super) fn policy(pool: &Pool) -> Value {
    let history: Vec<_> = pool.policies.history().iter().map(|earlier| activation(earlier)).collect();
    json!({
        "active": pool.policies.chosen().map(|chosen| activation(&chosen)),
        "serving": serving_name(pool.policies.serving()),
        "fallback": pool.policies.fallback().name(),
        "history": history,
        "canary": canary(pool),
        "shadow": shadow(pool),
        "kept": matches!(pool.policies.kept(), Ok(Some(_))),
    })
}

pub(super) fn activation(activation: &Activation) -> Value {
    let version = activation.version();
    let settings: Value = serde_json::from_str(activation.settings_json()).unwrap_or_default();
    let needs = activation.needs();
    json!({
        "policy": version.to_string(),
        "digest": version.digest,
        "settings": settings,
        "needs": {
            "columns": needs.columns.iter().map(|column| column.name()).collect::<Vec<_>>(),
            "headers": needs.headers,
            "prompt": needs.prompt,
        },
    })
}

/// The canary, or null.
pub(super) fn canary(pool: &Pool) -> Value {
    pool.policies.canary().map_or(Value::Null, |(trial, share)| {
        let mut answer = activation(&trial);
        answer["percent"] = json!(share.percent());
        answer["by"] = json!(share.by());
        answer
    })
}

/// The shadow and how it compares, or null.
pub(super) fn shadow(pool: &Pool) -> Value {
    pool.policies.shadow_trial().map_or(Value::Null, |trial| {
        let mut answer = activation(trial.activation());
        answer["asked"] = json!(trial.is_asked());
        answer["compared"] = trial.figures.json();
        answer
    })
}
