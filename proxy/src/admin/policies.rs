//! Uploading, activating, rolling back.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use rankwise_policy_host::Compiled;
use serde::Deserialize;
use serde_json::{Value, json};

use super::query::parameter;
use super::{Admin, Answered, Refused, shown};
use crate::config::{BuiltInPolicy, Fallback};
use crate::policies::{Author, Cause, Change, PolicyStore, StoreError, Upload};
use crate::pool::Pool;

/// The longest name of a policy.
const NAME_BYTES_MAX: usize = 64;

pub(super) fn list(admin: &Admin) -> Value {
    let built_in: Vec<_> = BuiltInPolicy::ALL.iter().map(|policy| policy.name()).collect();
    let uploaded: Vec<_> = admin.store.uploads().iter().map(describe).collect();
    json!({ "built_in": built_in, "uploaded": uploaded })
}

pub(super) fn one(admin: &Admin, wanted: &str) -> Answered {
    let uploads = admin.store.uploads();
    let found = uploads.iter().rev().find(|upload| upload.is(wanted));
    let found = found.ok_or_else(|| Refused::not_found(StoreError::Unknown(wanted.to_owned())))?;
    Ok((StatusCode::OK, describe(found)))
}

/// What happened to the pool's policy, the last step first.
pub(super) fn log(pool: &Pool) -> Value {
    json!({ "steps": pool.policies.journal().steps() })
}

pub(super) fn remove(admin: &Admin, digest: &str) -> Answered {
    admin.store.remove(digest).map_err(|error| match error {
        StoreError::Unknown(_) => Refused::not_found(error),
        _ => Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error),
    })?;
    Ok((StatusCode::OK, json!({ "digest": digest })))
}

/// Checks and compiles an upload. Whatever is wrong with it, nothing changes.
pub(super) async fn add(admin: &Admin, query: &str, wasm: Bytes) -> Answered {
    let name = parameter(query, "name").unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return Err(Refused::bad("?name= must be 1 to 64 letters, digits, '-', '_' or '.'"));
    }
    let author = Author::new(parameter(query, "who"), parameter(query, "reason")).map_err(Refused::bad)?;
    let store = Arc::clone(&admin.store);
    let upload = tokio::task::spawn_blocking(move || store.add(&name, &wasm, author))
        .await
        .map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error))?
        .map_err(Refused::bad)?;
    Ok((StatusCode::CREATED, describe(&upload)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Activate {
    policy: String,
    #[serde(default)]
    settings: serde_json::Map<String, Value>,
    #[serde(default)]
    fallback: Option<Fallback>,
    #[serde(default)]
    who: Option<String>,
    #[serde(default)]
    reason: Option<String>,
}

/// Who and why, where that is all that a body says; it may be empty.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct By {
    who: Option<String>,
    reason: Option<String>,
}

impl By {
    pub(super) fn read(body: &Bytes) -> Result<Author, Refused> {
        let by = if body.is_empty() {
            Self::default()
        } else {
            serde_json::from_slice(body).map_err(Refused::bad)?
        };
        Author::new(by.who, by.reason).map_err(Refused::bad)
    }
}

/// The policy that is asked for, compiled. Blocks.
pub(super) fn found(
    store: &PolicyStore,
    pool: &Pool,
    policy: &str,
    change: &Change,
) -> Result<Arc<Compiled>, Refused> {
    store.find(policy).map_err(|error| {
        pool.policies.refused(policy, change, &error);
        match error {
            StoreError::Unknown(_) => Refused::not_found(error),
            _ => Refused::bad(error),
        }
    })
}

/// Every decision started after the reply uses the new policy.
pub(super) async fn activate(admin: &Admin, pool: Arc<Pool>, body: &Bytes) -> Answered {
    let wanted: Activate = serde_json::from_slice(body).map_err(Refused::bad)?;
    let author = Author::new(wanted.who, wanted.reason).map_err(Refused::bad)?;
    let change = Change { fallback: wanted.fallback, cause: Cause::Admin, author };
    let store = Arc::clone(&admin.store);
    let activation = tokio::task::spawn_blocking(move || {
        let compiled = found(&store, &pool, &wanted.policy, &change)?;
        let info = pool.info();
        let settings = Value::Object(wanted.settings);
        pool.policies.activate(&compiled, &info, &settings, change).map_err(Refused::bad)
    })
    .await
    .map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error))??;
    Ok((StatusCode::OK, shown::activation(&activation)))
}

/// The body may say who and why.
pub(super) fn rollback(pool: &Pool, body: &Bytes) -> Answered {
    let activation = pool
        .policies
        .rollback(By::read(body)?)
        .ok_or_else(|| Refused::new(StatusCode::CONFLICT, "there is no earlier policy"))?;
    Ok((StatusCode::OK, shown::activation(&activation)))
}

fn describe(upload: &Upload) -> Value {
    let about = &upload.about;
    json!({
        "policy": format!("{}@{}", about.name, about.number), "name": about.name, "version": about.number,
        "digest": about.digest, "bytes": about.bytes,
        "uploaded_unix_ms": about.at_unix_ms, "who": about.author.who, "reason": about.author.reason,
    })
}
