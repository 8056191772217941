//! What refers to a response that one server keeps: it comes to that server, or is refused, and never goes to another.

use std::sync::Arc;

use http::{HeaderValue, Method, Uri, request};
use hyper::body::Incoming;
use rankwise_core::target::Availability;
use rankwise_prompt::RoutingFields;

use super::place::Placed;
use super::sent::{result_of, send_error, tell_if_unconnected};
use super::story::Story;
use super::{Answer, Proxy, body, outgoing};
use crate::clock;
use crate::error::{ProxyError, Stage};
use crate::pool::Pool;
use crate::responses::Keeper;
use crate::upstream::UpstreamBody;
use crate::workers::Worker;

/// The response that a request goes on from, and who keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follows<'a> {
    pub(super) id: &'a str,
    pub(super) keeper: Keeper,
}

/// The response that a body goes on from, if it does.
///
/// # Errors
/// 400 where nobody is known to keep it, as OpenAI's own API says of one that it does not know.
pub(super) fn previous<'a>(
    pool: &Pool,
    fields: &'a RoutingFields,
    tenant_key: u64,
) -> Result<Option<Follows<'a>>, ProxyError> {
    let Some(id) = fields.previous_response_id.as_deref() else { return Ok(None) };
    match find(pool, id, tenant_key) {
        Ok((keeper, _)) => Ok(Some(Follows { id, keeper })),
        Err(lost) => Err(ProxyError::new(Stage::Body, lost.message(id) + ". Send the whole input instead")
            .parameter(Some("previous_response_id".to_owned()))),
    }
}

/// Why a response cannot be had.
#[derive(Clone, Copy, Debug)]
enum Lost {
    /// Nobody is known to keep it.
    Unknown,
    /// The worker that kept it has left.
    Gone,
}

impl Lost {
    fn message(self, id: &str) -> String {
        let id = shown(id);
        match self {
            Self::Unknown => format!(
                "response `{id}`: no server is known here that keeps it: it was not stored, made too long ago, or made through \
                 another proxy"
            ),
            Self::Gone => format!("response `{id}` is gone with the server that kept it"),
        }
    }
}

/// As much of an id as engines' own are long.
fn shown(id: &str) -> String {
    const CHARACTERS_MAX: usize = 64;
    id.chars().take(CHARACTERS_MAX).collect()
}

/// 503: it is kept, by a server that serves nobody now.
pub(super) fn not_available(id: &str) -> ProxyError {
    let message = format!("response `{}`: the server that keeps it is not available", shown(id));
    ProxyError::new(Stage::Decision, message)
}

fn find(pool: &Pool, id: &str, tenant_key: u64) -> Result<(Keeper, Arc<Worker>), Lost> {
    let [known, unknown, gone] = &pool.metrics.response_references;
    let Some(keeper) = pool.responses.keeper(id, tenant_key, clock::now()) else {
        unknown.inc();
        return Err(Lost::Unknown);
    };
    match pool.workers.current().get(keeper.worker) {
        Some(worker) => {
            known.inc();
            Ok((keeper, Arc::clone(worker)))
        }
        None => {
            gone.inc();
            Err(Lost::Gone)
        }
    }
}

impl Proxy {
    /// Forwards what asks for a response itself to the server that keeps it.
    pub(super) async fn ask_keeper(
        &self,
        id: &str,
        head: &request::Parts,
        body: Incoming,
        request_id: &HeaderValue,
        story: &mut Story,
    ) -> Result<(Arc<Pool>, Answer), ProxyError> {
        let body = body::collect(body, &self.shared.settings, &mut story.admitted).await?;
        self.shared.metrics.bytes_received.inc_by(body.len() as u64);
        let pool = self.pool_with(id, head)?;
        story.belongs_to(&pool);
        let tenant_key = pool.sessions.tenant_key(&head.headers);
        let (_, worker) =
            find(&pool, id, tenant_key).map_err(|lost| ProxyError::new(Stage::Head, lost.message(id)))?;
        if !worker.ranks.iter().any(|rank| is_serving(rank.target.health.availability())) {
            return Err(not_available(id));
        }
        let body = if head.method == Method::POST { UpstreamBody::from(body) } else { UpstreamBody::empty() };
        let mut request = outgoing::addressed(&worker, head, request_id, body);
        *request.uri_mut() = with_query(&head.uri);
        story.place(Placed::at_server(Arc::clone(&worker)), 0);
        let sent = self.upstream.send(&worker, request, pool.limits.upstream()).await;
        story.attempted(result_of(&sent, |_| false));
        match sent {
            Ok(answer) => {
                if head.method == Method::DELETE && answer.0.status().is_success() {
                    pool.responses.forget(id, tenant_key);
                }
                Ok((pool, answer))
            }
            Err(error) => {
                tracing::warn!(pool = pool.name, worker = worker.name(), %error, "request not answered");
                tell_if_unconnected(&pool, &worker, &error);
                Err(send_error(&error))
            }
        }
    }

    /// The pool that knows of the response; the only one, where there is one.
    fn pool_with(&self, id: &str, head: &request::Parts) -> Result<Arc<Pool>, ProxyError> {
        let now = clock::now();
        let knows = |pool: &&Arc<Pool>| {
            pool.responses.keeper(id, pool.sessions.tenant_key(&head.headers), now).is_some()
        };
        let pools = &self.shared.pools;
        let unknown = |_| ProxyError::new(Stage::Head, Lost::Unknown.message(id));
        pools.iter().find(knows).map_or_else(|| pools.only().map_err(unknown), |pool| Ok(Arc::clone(pool)))
    }
}

/// Until it is gone a server tells what it keeps.
fn is_serving(availability: Availability) -> bool {
    matches!(availability, Availability::Ready | Availability::Draining)
}

/// What may be said in the query of these paths: how a response is told, and which part of it.
const PARAMETERS: [&str; 6] = ["stream", "starting_after", "include", "after", "limit", "order"];

/// The path with the parameters that are part of the API; engines may read others.
fn with_query(uri: &Uri) -> Uri {
    let is_known = |pair: &&str| PARAMETERS.contains(&pair.split(['=', '[']).next().unwrap_or_default());
    let pairs: Vec<&str> = uri.query().unwrap_or_default().split('&').filter(is_known).collect();
    let query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
    Uri::try_from(format!("{}{query}", uri.path())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn only_the_apis_own_parameters_go_on() {
        let uri = |text: &'static str| with_query(&Uri::from_static(text)).to_string();
        assert_eq!(uri("/v1/responses/r"), "/v1/responses/r");
        assert_eq!(
            uri("/v1/responses/r?stream=true&x=1&starting_after=4"),
            "/v1/responses/r?stream=true&starting_after=4"
        );
        assert_eq!(
            uri("/v1/responses/r?include[]=a&include%5B%5D=b&api_key=c"),
            "/v1/responses/r?include[]=a"
        );
    }

    #[test]
    fn ids_are_shown_as_far_as_they_can_be_some_engines() {
        let message = Lost::Unknown.message(&"é".repeat(1000));
        assert!(message.contains(&format!("`{}`", "é".repeat(64))), "{message}");
    }

    #[test]
    fn a_server_that_comes_back_may_be_asked_again() {
        let error = not_available("resp_1");
        assert_eq!((error.status, error.retry_after_s), (StatusCode::SERVICE_UNAVAILABLE, Some(1)));
    }
}
