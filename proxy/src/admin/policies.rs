//! Uploading, activating, rolling back.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use rankwise_policy_host::{Compiled, PoolInfo};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Admin, Answered, Refused, pools};
use crate::config::{BuiltInPolicy, Fallback};
use crate::policies::StoreError;
use crate::pool::Pool;

/// The longest name of a policy.
const NAME_BYTES_MAX: usize = 64;

pub(super) fn list(admin: &Admin) -> Value {
    let built_in: Vec<_> = BuiltInPolicy::ALL.iter().map(|policy| policy.name()).collect();
    let uploaded: Vec<_> = admin.store.uploaded().iter().map(|compiled| describe(compiled)).collect();
    json!({ "built_in": built_in, "uploaded": uploaded })
}

pub(super) fn one(admin: &Admin, wanted: &str) -> Answered {
    let uploaded = admin.store.uploaded();
    let found = uploaded.iter().rev().find(|compiled| {
        let version = compiled.version();
        version.digest == wanted || version.name == wanted || version.to_string() == wanted
    });
    let found = found.ok_or_else(|| Refused::not_found(StoreError::Unknown(wanted.to_owned())))?;
    Ok((StatusCode::OK, describe(found)))
}

pub(super) fn remove(admin: &Admin, digest: &str) -> Answered {
    admin.store.remove(digest).map_err(Refused::not_found)?;
    Ok((StatusCode::OK, json!({ "digest": digest })))
}

/// Checks and compiles an upload. Whatever is wrong with it, nothing changes.
pub(super) async fn add(admin: &Admin, query: &str, wasm: Bytes) -> Answered {
    let name = query.split('&').find_map(|pair| pair.strip_prefix("name=")).unwrap_or_default().to_owned();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return Err(Refused::bad("?name= must be 1 to 64 letters, digits, '-', '_' or '.'"));
    }
    let store = Arc::clone(&admin.store);
    let compiled = tokio::task::spawn_blocking(move || store.add(&name, &wasm))
        .await
        .map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error))?
        .map_err(Refused::bad)?;
    Ok((StatusCode::CREATED, describe(&compiled)))
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
    reason: Option<String>,
}

/// Every decision started after the reply uses the new policy.
pub(super) async fn activate(admin: &Admin, pool: Arc<Pool>, body: &Bytes) -> Answered {
    let wanted: Activate = serde_json::from_slice(body).map_err(Refused::bad)?;
    let store = Arc::clone(&admin.store);
    if let Some(reason) = &wanted.reason {
        tracing::info!(pool = pool.name, policy = wanted.policy, reason, "activation asked for");
    }
    let activation = tokio::task::spawn_blocking(move || {
        let compiled = store.find(&wanted.policy).map_err(|error| match error {
            StoreError::Unknown(_) => Refused::not_found(error),
            _ => Refused::bad(error),
        })?;
        let info = PoolInfo { model: pool.model(), block_size: pool.block_size().0 };
        let settings = Value::Object(wanted.settings);
        pool.policies
            .activate(&store, &compiled, &info, &settings, wanted.fallback, "admin")
            .map_err(Refused::bad)
    })
    .await
    .map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error))??;
    Ok((StatusCode::OK, pools::activation(&activation)))
}

pub(super) fn rollback(pool: &Pool) -> Answered {
    let activation = pool
        .policies
        .rollback()
        .ok_or_else(|| Refused::new(StatusCode::CONFLICT, "there is no earlier policy"))?;
    Ok((StatusCode::OK, pools::activation(&activation)))
}

fn describe(compiled: &Compiled) -> Value {
    let version = compiled.version();
    json!({
        "policy": version.to_string(), "name": version.name, "version": version.number,
        "digest": version.digest, "bytes": version.bytes,
    })
}
