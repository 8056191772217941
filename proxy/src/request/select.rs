//! Deciding for somebody else's proxy: the decision that a proxied request would get, booked until its end is told, or
//! until its time is over. Nothing is sent.
//!
//! One thread decides, with policy instances of its own, so that neither requests nor the admin API wait for it.

mod bookings;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, request};
use rankwise_core::policy::Phase;
use rankwise_policy_host::ThreadPolicies;
use rankwise_prompt::Api;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet};

use super::place::{self, Decider, Placed, Unplaced};
use super::{Accepted, Shared, head, kept};
use crate::error::{ProxyError, Stage};
use crate::pool::Pool;
use bookings::Bookings;
pub use bookings::{BookingEnd, BookingId};

/// Questions that wait for the thread.
const WAITING_MAX: usize = 1024;
/// Questions that are worked on at a time: those whose policy has them wait are among them.
const ASKED_MAX: usize = 1024;
/// Between two looks at bookings whose time is over.
const SWEEP: Duration = Duration::from_millis(50);

/// What is asked.
pub struct Question {
    /// The pool to choose from.
    pub pool: Arc<Pool>,
    /// The API that the request calls.
    pub api: Api,
    /// The client's headers.
    pub headers: HeaderMap,
    /// The client's body.
    pub body: Bytes,
    /// How long the booking lives if nobody ends it.
    pub hold: Duration,
}

/// A decision, booked.
#[derive(Clone, Debug)]
pub struct Selection {
    /// By which its first byte and its end are told.
    pub booking: BookingId,
    /// What was decided, for the admin API.
    pub decided: Value,
}

enum Job {
    Select(Box<Question>, oneshot::Sender<Result<Selection, ProxyError>>),
    FirstByte(String, BookingId, oneshot::Sender<bool>),
    End(String, BookingId, BookingEnd, oneshot::Sender<bool>),
}

/// The thread that decides for others, until this is dropped.
pub struct Selector {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Selector {
    /// Starts it, with room for so many bookings.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(shared: Shared, bookings_max: usize) -> std::io::Result<Self> {
        let (jobs, taken) = mpsc::channel(WAITING_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("select".into()).spawn(move || {
            let selecting = Rc::new(Selecting {
                shared,
                decider: RefCell::new(Decider::new(ThreadPolicies::new())),
                bookings: RefCell::new(Bookings::new(bookings_max)),
            });
            LocalSet::new().block_on(&runtime, selecting.run(taken));
        })?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Decides and books.
    ///
    /// # Errors
    /// What the client of a proxied request would be told; 503 when there is no room for a further booking.
    pub async fn select(&self, question: Question) -> Result<Selection, ProxyError> {
        self.ask(|reply| Job::Select(Box::new(question), reply)).await.unwrap_or_else(|| Err(busy()))
    }

    /// The first byte of the booking's answer has come: its prefill is done. Whether there is such a booking in the pool.
    pub async fn first_byte(&self, pool: &str, booking: BookingId) -> Option<bool> {
        self.ask(|reply| Job::FirstByte(pool.to_owned(), booking, reply)).await
    }

    /// Ends a booking. Whether there was such a one in the pool.
    pub async fn end(&self, pool: &str, booking: BookingId, how: BookingEnd) -> Option<bool> {
        self.ask(|reply| Job::End(pool.to_owned(), booking, how, reply)).await
    }

    /// None when too many wait.
    async fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.jobs.as_ref()?.try_send(job(reply)).ok()?;
        answer.await.ok()
    }
}

impl Drop for Selector {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that selects panicked");
        }
    }
}

fn busy() -> ProxyError {
    ProxyError::new(Stage::Queue, "too many selections are waiting")
}

/// The thread's own.
struct Selecting {
    shared: Shared,
    decider: RefCell<Decider>,
    bookings: RefCell<Bookings>,
}

impl Selecting {
    async fn run(self: Rc<Self>, mut jobs: mpsc::Receiver<Job>) {
        let mut asked = JoinSet::new();
        let mut sweep = tokio::time::interval(SWEEP);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            while asked.try_join_next().is_some() {}
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(Job::Select(question, reply)) if asked.len() < ASKED_MAX => {
                        let this = Rc::clone(&self);
                        asked.spawn_local(async move {
                            let selected = this.select(*question).await;
                            let Err(Ok(unheard)) = reply.send(selected) else { return };
                            // Who asked has gone.
                            this.bookings.borrow_mut().end(None, unheard.booking, BookingEnd::NeverRan);
                        });
                    }
                    // Who asked has gone, where sending fails.
                    Some(Job::Select(_, reply)) => drop(reply.send(Err(busy()))),
                    Some(Job::FirstByte(pool, booking, reply)) => {
                        let known = self.bookings.borrow().first_byte(&pool, booking);
                        let _ = reply.send(known);
                    }
                    Some(Job::End(pool, booking, how, reply)) => {
                        let known = self.bookings.borrow_mut().end(Some(&pool), booking, how);
                        let _ = reply.send(known);
                    }
                    None => return,
                },
                _ = sweep.tick() => self.bookings.borrow_mut().sweep(Instant::now()),
            }
        }
    }

    async fn select(&self, question: Question) -> Result<Selection, ProxyError> {
        let Question { pool, api, headers, body, hold } = question;
        if !self.bookings.borrow().has_room() {
            pool.metrics.selections_refused.inc();
            return Err(ProxyError::new(Stage::Queue, "too many bookings are held"));
        }
        let selected = self.decide(&pool, api, headers, body).await;
        match selected {
            Ok(placed) => {
                pool.metrics.selections_placed.inc();
                let decided = describe(&placed, hold);
                let booking = self.bookings.borrow_mut().hold(pool, placed, Instant::now() + hold);
                Ok(Selection { booking, decided })
            }
            Err(error) => {
                pool.metrics.selections_refused.inc();
                Err(error)
            }
        }
    }

    /// The stages of a request up to its place, as [`super::Proxy`] goes through them.
    async fn decide(
        &self,
        pool: &Arc<Pool>,
        api: Api,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Placed, ProxyError> {
        let body = self.shared.prompts.read(api, body).await?;
        let fields = body.routing_fields()?;
        let belongs = pool.sessions.belongs(&headers, &fields.session);
        let follows = kept::previous(pool, &fields, belongs.tenant_key)?;
        let prompt = if pool.policies.needs_prompt() { pool.prompt(&body, &fields).await? } else { None };
        let id = head::request_id(&headers);
        let head = head_of(headers);
        let accepted = Accepted {
            id: &id,
            api,
            draw: fastrand::u64(..),
            head: &head,
            body: body.bytes().clone(),
            fields: &fields,
            prompt: prompt.as_ref(),
            belongs,
            pin: None,
            follows,
        };
        let placement = accepted.placement(Phase::Aggregated, None, 0, &[]);
        match place::place(&self.decider, pool, &placement).await {
            Ok(placed) => Ok(placed),
            Err(Unplaced::Refused(error)) => Err(error),
            Err(Unplaced::NothingToPick | Unplaced::Skipped) => Err(accepted.nothing_to_pick(pool)),
        }
    }
}

fn head_of(headers: HeaderMap) -> request::Parts {
    let (mut head, ()) = Request::new(()).into_parts();
    head.headers = headers;
    head
}

/// Where the request goes, and what the caller has to write so that it arrives there.
fn describe(placed: &Placed, hold: Duration) -> Value {
    let pin = placed.rank().map_or(&placed.worker.left_open, |rank| &rank.pin);
    let headers: Map<String, Value> = pin
        .header
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or_default())))
        .collect();
    let fields: Map<String, Value> = pin
        .fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), serde_json::from_str(value).unwrap_or_default()))
        .collect();
    json!({
        "worker": placed.worker.name(),
        "address": placed.worker.address,
        "dp_rank": placed.dp_rank(),
        "policy": placed.policy.to_str().unwrap_or_default(),
        "overlap_blocks": placed.overlap_blocks,
        "expected_cached_tokens": placed.expected.map(|expected| expected.held_tokens),
        "headers": headers,
        "body_fields": fields,
        "held_ms": u64::try_from(hold.as_millis()).unwrap_or(u64::MAX),
    })
}
