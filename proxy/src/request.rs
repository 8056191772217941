//! A request's way through the proxy, stage by stage.

mod body;
mod head;
mod models;
mod outgoing;
mod place;
mod relay;
mod scan;
mod story;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Request, Response, request};
use http_body_util::Full;
use hyper::body::Incoming;
use rankwise_core::ids::TargetId;
use rankwise_core::request::{PlacementRequest, Prompt};
use rankwise_policy_host::ThreadPolicies;
use rankwise_prompt::{Api, RoutingFields};
use smallvec::SmallVec;

use crate::clock;
use crate::error::{ProxyError, Stage};
use crate::listen::Service;
use crate::metrics::Outcome;
use crate::pool::{Pool, Pools};
use crate::upstream::{Checkout, SendError, UpstreamPool};

pub use admission::Admission;
use admission::Admitted;
pub use answer::AnswerBody;
use head::Route;
use place::{Decider, Placed, Placement};
use relay::Relay;
use scan::Scanner;
use story::{Record, Story};

mod admission;
mod answer;

/// The head of an engine's answer, and the connection that its body comes on.
type Answer = (Response<Incoming>, Checkout);

/// What all request threads share.
#[derive(Clone)]
pub struct Shared {
    /// The pools.
    pub pools: Arc<Pools>,
    /// Bounds and switches.
    pub settings: Arc<Settings>,
    /// What is in flight.
    pub admission: Arc<Admission>,
    /// Counters.
    pub metrics: crate::metrics::Metrics,
}

/// Bounds and switches of the request path.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest body, bytes.
    pub body_bytes_max: usize,
    /// For a whole body.
    pub body_timeout: std::time::Duration,
    /// Most requests in flight.
    pub in_flight_max: usize,
    /// Most memory that their bodies hold together.
    pub bodies_bytes_max: usize,
    /// Whether answers say where they come from.
    pub expose_decision: bool,
    /// Whether each request is logged.
    pub access_log: bool,
}

/// The service of one request thread.
pub struct Proxy {
    shared: Shared,
    upstream: Rc<UpstreamPool>,
    decider: RefCell<Decider>,
}

impl Proxy {
    /// With this thread's own connections and policy instances.
    pub fn new(shared: Shared, upstream: Rc<UpstreamPool>, policies: ThreadPolicies) -> Self {
        Self { shared, upstream, decider: RefCell::new(Decider::new(policies)) }
    }

    /// The stages.
    async fn answer(
        &self,
        request: Request<Incoming>,
        id: &HeaderValue,
    ) -> Result<Response<AnswerBody>, ProxyError> {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let api = match head::route(&head.method, head.uri.path())? {
            Route::Models => return Ok(models::list(&self.shared.pools)),
            Route::Generate(api) => api,
        };
        let settings = &self.shared.settings;
        let mut admitted = self.shared.admission.enter(settings.in_flight_max)?;
        let body = body::collect(body, settings.body_bytes_max, settings.body_timeout).await?;
        admitted.hold(body.len(), settings.bodies_bytes_max)?;
        self.shared.metrics.bytes_received.inc_by(body.len() as u64);
        let fields = rankwise_prompt::routing_fields(api, &body).map_err(|error| body_error(&error))?;
        let pool = self.shared.pools.serving(&fields.model)?;
        let prompt =
            if pool.policies.needs_prompt() { pool.prompt(api, &fields, &body).await? } else { None };
        let incoming =
            Accepted { started, id, api, head: &head, body, fields: &fields, prompt: prompt.as_ref() };
        let (response, placed, attempt) = self.place_and_send(&pool, &incoming).await?;
        Ok(self.relay(&pool, &incoming, attempt, placed, response, admitted))
    }

    /// Decides, sends, and decides again while nothing has been sent.
    async fn place_and_send(
        &self,
        pool: &Arc<Pool>,
        accepted: &Accepted<'_>,
    ) -> Result<(Answer, Placed, u32), ProxyError> {
        let mut failed = SmallVec::<[TargetId; 4]>::new();
        for attempt in 0..=pool.limits.retries {
            let placement = accepted.placement(attempt, &failed);
            let placed = match place::place(&self.decider, pool, &placement).await {
                Ok(placed) => placed,
                // Nothing is left to pick from: what went wrong before tells more.
                Err(_) if !failed.is_empty() => break,
                Err(error) => return Err(error),
            };
            let outgoing = outgoing::request(&placed, accepted.head, accepted.body.clone(), accepted.id);
            match self.upstream.send(&placed.worker, outgoing, pool.limits.upstream()).await {
                Ok(answer) if pool.limits.is_retried(answer.0.status()) && attempt < pool.limits.retries => {
                    let status = answer.0.status().as_u16();
                    tracing::debug!(
                        pool = pool.name,
                        worker = placed.worker.name(),
                        attempt,
                        status,
                        "decided again"
                    );
                    failed.extend(placed.failed_targets());
                    placed.booking.finish(clock::now());
                    pool.load_changed();
                    pool.metrics.retries.inc();
                }
                Ok(answer) => return Ok((answer, placed, attempt)),
                Err(error) => {
                    let worker = placed.worker.name();
                    tracing::warn!(pool = pool.name, worker, attempt, %error, "request not answered");
                    if !error.is_unsent() {
                        placed.metrics().request(Outcome::Broken);
                        placed.booking.finish(clock::now());
                        pool.load_changed();
                        return Err(send_error(&error));
                    }
                    if matches!(error, SendError::Connect(_)) {
                        placed.worker.connect_failed();
                        // One address serves all of them: trying each would use up the retries.
                        failed.extend(placed.worker.ranks.iter().map(|rank| rank.target.id));
                    } else {
                        failed.extend(placed.failed_targets());
                    }
                    placed.booking.fail_before_send(clock::now());
                    pool.load_changed();
                    pool.metrics.retries.inc();
                }
            }
        }
        Err(ProxyError::new(Stage::Connect, "no connection to an engine"))
    }

    fn relay(
        &self,
        pool: &Arc<Pool>,
        accepted: &Accepted<'_>,
        attempt: u32,
        placed: Placed,
        (response, checkout): Answer,
        admitted: Admitted,
    ) -> Response<AnswerBody> {
        let (mut parts, body) = response.into_parts();
        head::strip_response(&mut parts.headers);
        let streamed = outgoing::is_event_stream(&parts.headers);
        if streamed {
            // It may have to end otherwise than the engine announced.
            parts.headers.remove(CONTENT_LENGTH);
        }
        if self.shared.settings.expose_decision {
            outgoing::expose_decision(&mut parts.headers, &placed);
        }
        let target = placed.metrics().clone();
        let story = Story {
            pool: Arc::clone(pool),
            record: Record {
                request_id: accepted.id.clone(),
                api: head::api_name(accepted.api),
                worker: placed.worker.name().to_owned(),
                dp_rank: placed.rank().map(|rank| rank.target.spec.rank.0),
                policy: placed.policy,
                overlap_blocks: placed.overlap_blocks,
                prompt_tokens: accepted.prompt.map_or(0, |prompt| prompt.tokens),
                status: parts.status,
                attempt,
                bytes_sent: 0,
                first_token: None,
            },
            target,
            booking: Some(placed.booking),
            started: accepted.started,
            total: self.shared.metrics.request_seconds(head::api_name(accepted.api)),
            expected: placed.expected,
            access_log: self.shared.settings.access_log,
            _admitted: admitted,
        };
        let scanner = Scanner::new(streamed);
        let silence_max = pool.limits.silence_max;
        let relay = Relay::new(body, checkout, scanner, story, silence_max);
        Response::from_parts(parts, AnswerBody::Relayed(Box::new(relay)))
    }
}

impl Service for Proxy {
    type Body = AnswerBody;

    async fn handle(self: Rc<Self>, request: Request<Incoming>) -> Response<AnswerBody> {
        let id = head::request_id(request.headers());
        let mut response = match self.answer(request, &id).await {
            Ok(response) => response,
            Err(error) => {
                self.shared.metrics.error(error.stage);
                tracing::debug!(%error, status = error.status.as_u16(), "answered with an error");
                error.response::<Full<Bytes>>().map(AnswerBody::Whole)
            }
        };
        response.headers_mut().insert(head::REQUEST_ID, id);
        response
    }

    fn tidy(&self) {
        let pools = &self.shared.pools;
        self.upstream.sweep(|worker| pools.iter().any(|pool| pool.workers.current().get(worker).is_some()));
    }
}

/// A request that was read and belongs to a pool.
struct Accepted<'a> {
    started: Instant,
    id: &'a HeaderValue,
    api: Api,
    head: &'a request::Parts,
    body: Bytes,
    fields: &'a RoutingFields,
    prompt: Option<&'a Prompt>,
}

/// Bytes of JSON per token, roughly: what a prompt that was not read is booked as.
const BYTES_PER_TOKEN: usize = 4;

impl Accepted<'_> {
    fn placement<'a>(&'a self, attempt: u32, failed: &'a [TargetId]) -> Placement<'a> {
        let headers: &HeaderMap = &self.head.headers;
        let estimate = u32::try_from(self.body.len() / BYTES_PER_TOKEN).unwrap_or(u32::MAX);
        Placement {
            request: PlacementRequest {
                prompt: self.prompt,
                prompt_tokens_estimate: estimate,
                sequences: self.fields.sequences,
                max_output_tokens: self.fields.max_output_tokens,
                streamed: self.fields.stream,
                ..PlacementRequest::default()
            },
            headers,
            priority: self.fields.priority,
            attempt,
            failed,
        }
    }
}

fn body_error(error: &rankwise_prompt::BodyError) -> ProxyError {
    ProxyError::new(Stage::Body, error.to_string()).parameter(error.param().map(str::to_owned))
}

/// What the client is told: never where the engine is.
fn send_error(error: &SendError) -> ProxyError {
    match error {
        SendError::Connect(_) | SendError::Full(_) | SendError::Unsent => {
            ProxyError::new(Stage::Connect, "no connection to an engine")
        }
        SendError::Broken(_) => ProxyError::new(Stage::Upstream, "the engine broke off"),
        SendError::TimedOut(within) => {
            ProxyError::new(Stage::UpstreamTimeout, format!("the engine did not answer within {within:?}"))
        }
    }
}
