//! Adding and removing workers while traffic flows.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Answered, Refused};
use crate::config;
use crate::discovery::{Roster, RosterError};

pub(super) fn list(roster: &Roster) -> Value {
    let workers: Vec<_> = roster
        .list()
        .into_iter()
        .map(|(config, source, status)| {
            let (state, reason) = status.get();
            json!({
                "name": config.name, "url": config.url.to_string(), "engine": config.engine.name(),
                "source": source.name(),
                "state": state, "reason": reason,
            })
        })
        .collect();
    json!({ "workers": workers })
}

pub(super) fn add(roster: &Roster, body: &Bytes) -> Answered {
    let worker = config::parse_worker(body).map_err(Refused::bad)?;
    let name = worker.name.to_string();
    roster.add(worker).map_err(|error| refused(&error))?;
    Ok((StatusCode::ACCEPTED, json!({ "name": name, "state": "starting" })))
}

pub(super) fn remove(roster: &Roster, name: &str) -> Answered {
    roster.remove(name).map_err(|error| refused(&error))?;
    Ok((StatusCode::ACCEPTED, json!({ "name": name, "state": "draining" })))
}

fn refused(error: &RosterError) -> Refused {
    let status = match error {
        RosterError::Unknown(_) => StatusCode::NOT_FOUND,
        RosterError::Known(_) => StatusCode::CONFLICT,
        _ => StatusCode::INSUFFICIENT_STORAGE,
    };
    Refused::new(status, error)
}
