//! A request's way through the proxy, stage by stage.

mod admission;
mod answer;
mod body;
mod disaggregated;
mod head;
mod kept;
mod models;
mod outgoing;
mod pin;
mod place;
mod prefill;
mod relay;
mod scan;
mod select;
mod send;
mod sent;
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
use rankwise_core::policy::Phase;
use rankwise_core::request::{PlacementRequest, Prompt};
use rankwise_policy_host::ThreadPolicies;
use rankwise_prompt::{Api, RoutingFields};

use crate::error::{ProxyError, Shape};
use crate::listen::{ListenerOptions, Service};
use crate::pool::{Pool, Pools};
use crate::prompts::PromptWork;
use crate::sessions::Belongs;
use crate::upstream::{Checkout, UpstreamPool};

pub use admission::Admission;
pub use answer::AnswerBody;
use head::{Forwarded, Route};
use kept::Follows;
use pin::Pin;
use place::{Decider, Peer, Placement};
use relay::Relay;
use scan::Scanner;
pub use select::{BookingEnd, BookingId, Question, Selection, Selector};
use story::Story;

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
    /// Reading bodies and their prompts.
    pub prompts: Arc<PromptWork>,
    /// Counters.
    pub metrics: crate::metrics::Metrics,
}

/// Bounds and switches of the request path.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Largest request head, bytes.
    pub head_bytes_max: usize,
    /// Most header fields.
    pub headers_max: usize,
    /// Largest body, bytes.
    pub body_bytes_max: usize,
    /// For a whole body.
    pub body_timeout: std::time::Duration,
    /// Most requests in flight.
    pub in_flight_max: usize,
    /// Most memory that their bodies hold together.
    pub bodies_bytes_max: usize,
    /// Largest answer to the first leg of a request.
    pub prefill_answer_bytes_max: usize,
    /// Whether answers say where they come from.
    pub expose_decision: bool,
    /// Whether each request is logged.
    pub access_log: bool,
}

/// The service of one request thread.
pub struct Proxy {
    shared: Rc<Shared>,
    upstream: Rc<UpstreamPool>,
    decider: RefCell<Decider>,
}

impl Proxy {
    /// With this thread's own connections and policy instances.
    pub fn new(shared: Shared, upstream: Rc<UpstreamPool>, policies: ThreadPolicies) -> Self {
        Self { shared: Rc::new(shared), upstream, decider: RefCell::new(Decider::new(policies)) }
    }

    /// Who lets it in, and who tells how it ended.
    async fn answer(
        &self,
        request: Request<Incoming>,
        listener: ListenerOptions,
        id: &HeaderValue,
    ) -> Result<Response<AnswerBody>, ProxyError> {
        let started = Instant::now();
        let (head, body) = request.into_parts();
        let settings = &self.shared.settings;
        head::check_size(&head, settings.head_bytes_max, settings.headers_max)?;
        let forwarded = match head::route(&head.method, head.uri.path())? {
            Route::Models => return Ok(models::list(&self.shared.pools)),
            Route::Forwarded(forwarded) => forwarded,
        };
        let admitted = self.shared.admission.enter(settings.in_flight_max)?;
        let mut story = Story::new(Rc::clone(&self.shared), id.clone(), forwarded.name(), started, admitted);
        let answered = match forwarded {
            Forwarded::Generate(api) => self.generate(api, &head, body, listener, id, &mut story).await,
            Forwarded::Kept(response) => self.ask_keeper(response, &head, body, id, &mut story).await,
        };
        match answered {
            Ok((pool, answer)) => Ok(self.relay(&pool, answer, story, head::shape(head.uri.path()))),
            Err(error) => {
                story.refuse(&error);
                Err(error)
            }
        }
    }

    /// The stages.
    async fn generate(
        &self,
        api: Api,
        head: &request::Parts,
        body: Incoming,
        listener: ListenerOptions,
        id: &HeaderValue,
        story: &mut Story,
    ) -> Result<(Arc<Pool>, Answer), ProxyError> {
        let pin = if listener.trust_pins { Pin::read(&head.headers)? } else { None };
        let body = body::collect(body, &self.shared.settings, &mut story.admitted).await?;
        self.shared.metrics.bytes_received.inc_by(body.len() as u64);
        let body = self.shared.prompts.read(api, body).await?;
        let fields = body.routing_fields()?;
        let pools = &self.shared.pools;
        let names_none = fields.model.is_empty() && !api.needs_model();
        let pool = if names_none { pools.only()? } else { pools.serving(&fields.model)? };
        story.belongs_to(&pool);
        let belongs = pool.sessions.belongs(&head.headers, &fields.session);
        // A trusted client knows better.
        let follows = if pin.is_none() { kept::previous(&pool, &fields, belongs.tenant_key)? } else { None };
        if api == Api::Responses && fields.store {
            story.may_be_kept(belongs.tenant_key);
        }
        let prompt = if pool.policies.needs_prompt() { pool.prompt(&body, &fields).await? } else { None };
        story.prompt_tokens(prompt.as_ref().map_or(0, |prompt| prompt.tokens));
        let draw = fastrand::u64(..);
        let prompt = prompt.as_ref();
        let body = body.bytes().clone();
        let accepted = Accepted { id, api, draw, head, body, fields: &fields, prompt, belongs, pin, follows };
        let answer = self.serve(&pool, &accepted, story).await?;
        Ok((pool, answer))
    }

    fn relay(
        &self,
        pool: &Pool,
        (response, checkout): Answer,
        mut story: Story,
        shape: Shape,
    ) -> Response<AnswerBody> {
        let (mut parts, body) = response.into_parts();
        head::strip_response(&mut parts.headers);
        let streamed = head::is_event_stream(&parts.headers);
        if streamed {
            // It may have to end otherwise than the engine announced.
            parts.headers.remove(CONTENT_LENGTH);
        }
        if let Some(placed) = story.placed().filter(|_| self.shared.settings.expose_decision) {
            outgoing::expose_decision(&mut parts.headers, placed, story.prefill.place());
        }
        story.answered(parts.status);
        let generates = story.placed().is_none_or(|placed| placed.generates);
        let scanner = if generates { Scanner::new(streamed) } else { Scanner::unread(streamed) };
        let relay = Relay::new(body, checkout, scanner, story, shape, pool.limits.silence_max);
        Response::from_parts(parts, AnswerBody::Relayed(Box::new(relay)))
    }
}

impl Service for Proxy {
    type Body = AnswerBody;

    async fn handle(
        self: Rc<Self>,
        request: Request<Incoming>,
        listener: ListenerOptions,
    ) -> Response<AnswerBody> {
        let id = head::request_id(request.headers());
        let shape = head::shape(request.uri().path());
        let mut response = match self.answer(request, listener, &id).await {
            Ok(response) => response,
            Err(error) => {
                self.shared.metrics.error(error.stage);
                tracing::debug!(%error, status = error.status.as_u16(), "answered with an error");
                error.response::<Full<Bytes>>(shape).map(AnswerBody::Whole)
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
    id: &'a HeaderValue,
    api: Api,
    draw: u64,
    head: &'a request::Parts,
    body: Bytes,
    fields: &'a RoutingFields,
    prompt: Option<&'a Prompt>,
    belongs: Belongs,
    pin: Option<Pin<'a>>,
    follows: Option<Follows<'a>>,
}

/// Bytes of JSON per token, roughly: what a prompt that was not read is booked as.
const BYTES_PER_TOKEN: usize = 4;

impl Accepted<'_> {
    fn placement<'a>(
        &'a self,
        phase: Phase,
        peer: Option<Peer>,
        attempt: u32,
        failed: &'a [TargetId],
    ) -> Placement<'a> {
        let headers: &HeaderMap = &self.head.headers;
        let is_prefill = phase == Phase::Prefill;
        let estimate = u32::try_from(self.body.len() / BYTES_PER_TOKEN).unwrap_or(u32::MAX);
        Placement {
            api: self.api,
            request: PlacementRequest {
                phase,
                // A trusted client's choice is obeyed all the same.
                in_room: self.pin.is_none(),
                prompt: self.prompt,
                prompt_tokens_estimate: estimate,
                sequences: self.fields.sequences,
                max_output_tokens: if is_prefill { Some(1) } else { self.fields.max_output_tokens },
                // The whole answer to a prefill is its first token.
                streamed: is_prefill || self.fields.stream,
                ..PlacementRequest::default()
            },
            headers,
            belongs: self.belongs,
            priority: self.fields.priority,
            attempt,
            id: self.id,
            draw: self.draw,
            failed,
            pin: self.pin,
            peer,
            keeper: self.follows.map(|follows| follows.keeper),
        }
    }

    /// 503: there is no target that may be picked for it.
    fn nothing_to_pick(&self, pool: &Pool) -> ProxyError {
        match self.follows {
            Some(follows) => kept::not_available(follows.id),
            None => place::nothing_to_pick(pool),
        }
    }
}
