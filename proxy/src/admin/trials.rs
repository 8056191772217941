//! Canary and shadow of a pool.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use rankwise_policy_host::{Activation, PoolInfo};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::policies::{By, found};
use super::shown::{self, canary, shadow};
use super::{Admin, Answered, Refused};
use crate::policies::{Author, CanaryBy, CanaryShare, Cause, Change};
use crate::pool::Pool;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartCanary {
    policy: String,
    #[serde(default)]
    settings: Map<String, Value>,
    percent: f64,
    #[serde(default)]
    by: CanaryBy,
    #[serde(default)]
    who: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartShadow {
    policy: String,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    who: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

pub(super) async fn start_canary(admin: &Admin, pool: Arc<Pool>, body: &Bytes) -> Answered {
    let wanted: StartCanary = serde_json::from_slice(body).map_err(Refused::bad)?;
    let share = CanaryShare::new(wanted.percent, wanted.by).map_err(Refused::bad)?;
    let author = Author::new(wanted.who, wanted.reason).map_err(Refused::bad)?;
    let settings = Value::Object(wanted.settings);
    let trial = Trial { pool: Arc::clone(&pool), policy: wanted.policy, cause: Cause::Canary, author };
    start(admin, trial, move |pool, compiled, info, author| {
        pool.policies.start_canary(compiled, info, &settings, share, author).map(drop)
    })
    .await?;
    Ok((StatusCode::OK, canary(&pool)))
}

pub(super) async fn start_shadow(admin: &Admin, pool: Arc<Pool>, body: &Bytes) -> Answered {
    let wanted: StartShadow = serde_json::from_slice(body).map_err(Refused::bad)?;
    let author = Author::new(wanted.who, wanted.reason).map_err(Refused::bad)?;
    let settings = Value::Object(wanted.settings);
    let trial = Trial { pool: Arc::clone(&pool), policy: wanted.policy, cause: Cause::Shadow, author };
    start(admin, trial, move |pool, compiled, info, author| {
        pool.policies.start_shadow(compiled, info, &settings, author).map(drop)
    })
    .await?;
    Ok((StatusCode::OK, shadow(&pool)))
}

/// Which policy is to be tried where.
struct Trial {
    pool: Arc<Pool>,
    policy: String,
    cause: Cause,
    author: Author,
}

async fn start<F>(admin: &Admin, trial: Trial, begin: F) -> Result<(), Refused>
where
    F: FnOnce(
            &Pool,
            &Arc<rankwise_policy_host::Compiled>,
            &PoolInfo,
            Author,
        ) -> Result<(), rankwise_policy_host::HostError>
        + Send
        + 'static,
{
    let store = Arc::clone(&admin.store);
    tokio::task::spawn_blocking(move || {
        let Trial { pool, policy, cause, author } = trial;
        let change = Change { fallback: None, cause, author: author.clone() };
        let compiled = found(&store, &pool, &policy, &change)?;
        let info = pool.info();
        begin(&pool, &compiled, &info, author).map_err(Refused::bad)
    })
    .await
    .map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error))?
}

pub(super) fn drop_canary(pool: &Pool, body: &Bytes) -> Answered {
    ended(pool.policies.drop_canary(By::read(body)?), "canary")
}

pub(super) fn drop_shadow(pool: &Pool, body: &Bytes) -> Answered {
    // How it did is told once more.
    let last = shadow(pool);
    ended(pool.policies.drop_shadow(By::read(body)?), "shadow").map(|(status, _)| (status, last))
}

pub(super) fn promote(pool: &Pool, body: &Bytes) -> Answered {
    let promoted: Option<Arc<Activation>> = pool.policies.promote_canary(By::read(body)?);
    let promoted = promoted.ok_or_else(|| none("canary"))?;
    Ok((StatusCode::OK, shown::activation(&promoted)))
}

fn ended(ended: bool, what: &str) -> Answered {
    if ended { Ok((StatusCode::OK, json!({ "ended": what }))) } else { Err(none(what)) }
}

fn none(what: &str) -> Refused {
    Refused::new(StatusCode::CONFLICT, format!("there is no {what}"))
}
