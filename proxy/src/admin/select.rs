//! Deciding for a proxy that is not this one, and being told what became of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use rankwise_prompt::Api;
use serde::Deserialize;
use serde_json::json;

use super::query::parameter;
use super::{Admin, Answered, Refused};
use crate::config::parse_duration;
use crate::error::ProxyError;
use crate::pool::Pool;
use crate::request::{BookingEnd, BookingId, Question};

/// `?path=PATH` of the API (chat completions), `?hold=DURATION`: headers and body are the client's.
pub(super) async fn select(
    admin: &Admin,
    pool: Arc<Pool>,
    query: &str,
    mut headers: HeaderMap,
    body: Bytes,
) -> Answered {
    let path = parameter(query, "path");
    let api = path.as_deref().map_or(Some(Api::ChatCompletions), Api::from_path);
    let api = api.ok_or_else(|| Refused::bad("?path= must be a path that is proxied"))?;
    let hold = match parameter(query, "hold") {
        None => admin.select_hold,
        Some(text) => hold(&text, admin.select_hold)?,
    };
    // The admin API's own.
    headers.remove(header::AUTHORIZATION);
    let question = Question { pool, api, headers, body, hold };
    let selection = admin.selector.select(question).await.map_err(refused)?;
    let mut decided = selection.decided;
    decided["booking"] = json!(selection.booking.to_string());
    Ok((StatusCode::OK, decided))
}

fn hold(text: &str, max: Duration) -> Result<Duration, Refused> {
    let hold = parse_duration(text).map_err(|expected| Refused::bad(format!("?hold=: {expected}")))?;
    if hold > max {
        return Err(Refused::bad(format!("?hold= is longer than limits.select.hold, {max:?}")));
    }
    Ok(hold)
}

fn refused(error: ProxyError) -> Refused {
    Refused::new(error.status, error.message)
}

/// What may be said of an end; the body may be empty.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct End {
    ran: bool,
}

impl Default for End {
    fn default() -> Self {
        Self { ran: true }
    }
}

pub(super) async fn first_byte(admin: &Admin, pool: &Pool, booking: &str) -> Answered {
    told(admin.selector.first_byte(&pool.name, id(booking)?).await, booking)
}

pub(super) async fn end(admin: &Admin, pool: &Pool, booking: &str, body: &Bytes) -> Answered {
    let end: End =
        if body.is_empty() { End::default() } else { serde_json::from_slice(body).map_err(Refused::bad)? };
    let how = if end.ran { BookingEnd::Answered } else { BookingEnd::NeverRan };
    told(admin.selector.end(&pool.name, id(booking)?, how).await, booking)
}

fn id(booking: &str) -> Result<BookingId, Refused> {
    booking.parse().map_err(|()| unknown(booking))
}

fn told(known: Option<bool>, booking: &str) -> Answered {
    match known {
        Some(true) => Ok((StatusCode::OK, json!({ "booking": booking }))),
        Some(false) => Err(unknown(booking)),
        None => Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "too many selections are waiting")),
    }
}

fn unknown(booking: &str) -> Refused {
    Refused::not_found(format!("no booking {booking}: it never was, was ended, or its time is over"))
}
