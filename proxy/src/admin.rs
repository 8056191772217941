//! The admin API: workers, ranks, policies. JSON over HTTP/1.1, on loopback unless config says otherwise.

mod blocks;
mod decisions;
mod policies;
mod pools;
mod query;
mod select;
mod shown;
mod trials;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::config::Secret;
use crate::control;
use crate::discovery::Roster;
use crate::listen::Listener;
use crate::policies::PolicyStore;
use crate::pool::{Pool, Pools};
use crate::request::Selector;

/// What the API works on.
pub struct Admin {
    /// The pools.
    pub pools: Arc<Pools>,
    /// Their workers, one roster a pool.
    pub rosters: Arc<[Roster]>,
    /// Policies that can be activated.
    pub store: Arc<PolicyStore>,
    /// What a caller must present.
    pub token: Option<Secret>,
    /// Largest component.
    pub component_bytes_max: usize,
    /// Decides for others.
    pub selector: Selector,
    /// How long what it booked is held at most.
    pub select_hold: Duration,
    /// Largest body that it decides about.
    pub body_bytes_max: usize,
    /// Where it listens.
    pub address: std::net::SocketAddr,
}

/// An answer that is no success.
pub(crate) struct Refused {
    status: StatusCode,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, message: impl ToString) -> Self {
        Self { status, message: message.to_string() }
    }

    fn not_found(message: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    fn bad(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

type Answered = Result<(StatusCode, Value), Refused>;

/// Bytes of a JSON body.
const JSON_BYTES_MAX: usize = 1 << 20;
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Serves until told to stop.
pub async fn serve(listener: Listener, admin: Admin, stop: CancellationToken) {
    control::serve(listener, admin, stop, answer).await;
}

async fn answer(admin: Arc<Admin>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let answered = match admin.allow(request.headers()) {
        Ok(()) => admin.route(request).await,
        Err(refused) => Err(refused),
    };
    match answered {
        Ok((status, value)) => control::json(status, &value),
        Err(Refused { status, message }) => {
            control::json(status, &json!({ "error": { "message": message } }))
        }
    }
}

impl Admin {
    /// A web page must not be able to administer a proxy on its reader's machine: unknown Host values (DNS rebinding)
    /// and any Origin are refused.
    fn allow(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let forbidden = |message: &str| Refused::new(StatusCode::FORBIDDEN, message);
        if headers.contains_key(ORIGIN) {
            return Err(forbidden("requests of web pages are refused"));
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
        let known =
            ["localhost", "127.0.0.1", "::1"].contains(&name) || name == self.address.ip().to_string();
        if !known && self.token.is_none() {
            return Err(forbidden("unknown Host"));
        }
        let Some(token) = &self.token else { return Ok(()) };
        let given = headers.get(AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        if same(token.reveal().as_bytes(), given) {
            Ok(())
        } else {
            Err(Refused::new(StatusCode::UNAUTHORIZED, "a token is needed: Authorization: Bearer"))
        }
    }

    async fn route(&self, request: Request<Incoming>) -> Answered {
        let (head, body) = request.into_parts();
        let path = head.uri.path().trim_matches('/').to_owned();
        let segments: Vec<&str> = path.split('/').collect();
        let query = head.uri.query().unwrap_or_default();
        match (&head.method, segments.as_slice()) {
            (&Method::GET, ["v1", "pools"]) => Ok((StatusCode::OK, pools::list(self))),
            (&Method::GET, ["v1", "pools", pool]) => Ok((StatusCode::OK, pools::one(self.pool(pool)?.0))),
            (&Method::GET, ["v1", "pools", pool, "ranks"]) => {
                Ok((StatusCode::OK, pools::ranks(self.pool(pool)?.0)))
            }
            (&Method::GET, ["v1", "pools", pool, "ranks", worker, rank, "blocks"]) => {
                blocks::list(self.pool(pool)?.0, worker, rank, query)
            }
            (&Method::GET, ["v1", "pools", pool, "workers"]) => {
                Ok((StatusCode::OK, workers::list(self.pool(pool)?.1)))
            }
            (&Method::POST, ["v1", "pools", pool, "workers"]) => {
                let (_, roster) = self.pool(pool)?;
                workers::add(roster, &read(body, JSON_BYTES_MAX).await?)
            }
            (&Method::DELETE, ["v1", "pools", pool, "workers", name]) => {
                workers::remove(self.pool(pool)?.1, name)
            }
            (&Method::GET, ["v1", "pools", pool, "policy"]) => {
                Ok((StatusCode::OK, shown::policy(self.pool(pool)?.0)))
            }
            (&Method::GET, ["v1", "pools", pool, "policy", "log"]) => {
                Ok((StatusCode::OK, policies::log(self.pool(pool)?.0)))
            }
            (&Method::PUT, ["v1", "pools", pool, "policy"]) => {
                let pool = Arc::clone(self.pool(pool)?.0);
                policies::activate(self, pool, &read(body, JSON_BYTES_MAX).await?).await
            }
            (&Method::POST, ["v1", "pools", pool, "policy", "rollback"]) => {
                let pool = Arc::clone(self.pool(pool)?.0);
                policies::rollback(&pool, &read(body, JSON_BYTES_MAX).await?)
            }
            (_, ["v1", "pools", pool, trial @ ("canary" | "shadow")]) => {
                let pool = Arc::clone(self.pool(pool)?.0);
                let body = read(body, JSON_BYTES_MAX).await?;
                match (&head.method, *trial) {
                    (&Method::GET, "canary") => Ok((StatusCode::OK, shown::canary(&pool))),
                    (&Method::GET, _) => Ok((StatusCode::OK, shown::shadow(&pool))),
                    (&Method::PUT, "canary") => trials::start_canary(self, pool, &body).await,
                    (&Method::PUT, _) => trials::start_shadow(self, pool, &body).await,
                    (&Method::DELETE, "canary") => trials::drop_canary(&pool, &body),
                    (&Method::DELETE, _) => trials::drop_shadow(&pool, &body),
                    _ => Err(Refused::not_found("no such path, or not with this method")),
                }
            }
            (&Method::POST, ["v1", "pools", pool, "canary", "promote"]) => {
                let pool = Arc::clone(self.pool(pool)?.0);
                trials::promote(&pool, &read(body, JSON_BYTES_MAX).await?)
            }
            (&Method::GET, ["v1", "pools", pool, "decisions"]) => decisions::list(self.pool(pool)?.0, query),
            (&Method::POST, ["v1", "pools", pool, "decisions"]) => {
                let pool = Arc::clone(self.pool(pool)?.0);
                decisions::arm(&pool, &read(body, JSON_BYTES_MAX).await?)
            }
            (&Method::POST, ["v1", "pools", pool, "select"]) => {
                let pool = Arc::clone(self.pool(pool)?.0);
                let body = read(body, self.body_bytes_max).await?;
                select::select(self, pool, query, head.headers, body).await
            }
            (&Method::POST, ["v1", "pools", pool, "bookings", booking, "first-byte"]) => {
                select::first_byte(self, self.pool(pool)?.0, booking).await
            }
            (&Method::POST, ["v1", "pools", pool, "bookings", booking, "end"]) => {
                let body = read(body, JSON_BYTES_MAX).await?;
                select::end(self, self.pool(pool)?.0, booking, &body).await
            }
            (&Method::GET, ["v1", "policies"]) => Ok((StatusCode::OK, policies::list(self))),
            (&Method::POST, ["v1", "policies"]) => {
                policies::add(self, query, read(body, self.component_bytes_max).await?).await
            }
            (&Method::GET, ["v1", "policies", wanted]) => policies::one(self, wanted),
            (&Method::DELETE, ["v1", "policies", digest]) => policies::remove(self, digest),
            _ => Err(Refused::not_found("no such path, or not with this method")),
        }
    }

    fn pool(&self, name: &str) -> Result<(&Arc<Pool>, &Roster), Refused> {
        let found = self.rosters.iter().find(|roster| roster.pool().name == name);
        found
            .map(|roster| (roster.pool(), roster))
            .ok_or_else(|| Refused::not_found(format!("no pool {name}")))
    }
}

/// Compares in a time that tells nothing of where they differ.
fn same(secret: &[u8], given: &[u8]) -> bool {
    secret.len() == given.len() && secret.iter().zip(given).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

async fn read(body: Incoming, bytes_max: usize) -> Result<Bytes, Refused> {
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, bytes_max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {bytes_max} bytes"),
        )),
        Ok(Err(_)) => Err(Refused::bad("the body broke off")),
        Err(_) => Err(Refused::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
    }
}
