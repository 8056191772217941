//! Adding and removing workers while traffic flows.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Admin, Answered, Refused};
use crate::config::{self, Worker};
use crate::discovery::{Roster, RosterError};
use crate::pool::Pool;

pub(super) fn list(roster: &Roster) -> Value {
    let workers: Vec<_> = roster
        .list()
        .into_iter()
        .map(|(config, status)| {
            let (state, reason) = status.get();
            json!({
                "name": config.name, "url": config.url.to_string(), "engine": config.engine.name(),
                "state": state, "reason": reason,
            })
        })
        .collect();
    json!({ "workers": workers })
}

pub(super) fn add(admin: &Admin, pool: &Arc<Pool>, roster: &Roster, body: &Bytes) -> Answered {
    let worker = parse(body)?;
    let name = worker.name.to_string();
    roster.add(admin.supervise.worker(pool, worker)).map_err(|error| refused(&error))?;
    Ok((StatusCode::ACCEPTED, json!({ "name": name, "state": "starting" })))
}

pub(super) fn remove(roster: &Roster, name: &str) -> Answered {
    roster.remove(name).map_err(|error| refused(&error))?;
    Ok((StatusCode::ACCEPTED, json!({ "name": name, "state": "draining" })))
}

/// A worker in the words of the config. JSON is YAML, so the config's own parser reads it.
fn parse(body: &Bytes) -> Result<Worker, Refused> {
    let worker: Value = serde_json::from_slice(body).map_err(Refused::bad)?;
    let document = json!({ "pools": [{ "name": "any", "workers": [worker] }] });
    let config = config::parse("worker", &document.to_string()).map_err(Refused::bad)?;
    let worker = config.pools.into_iter().flat_map(|pool| pool.workers).next();
    worker.ok_or_else(|| Refused::bad("no worker"))
}

fn refused(error: &RosterError) -> Refused {
    let status = match error {
        RosterError::Unknown(_) => StatusCode::NOT_FOUND,
        RosterError::Known(_) => StatusCode::CONFLICT,
        _ => StatusCode::INSUFFICIENT_STORAGE,
    };
    Refused::new(status, error)
}
