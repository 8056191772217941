//! The supervisor of one worker.

use std::sync::Arc;
use std::time::Duration;

use rankwise_core::ids::WorkerId;
use rankwise_core::target::Availability;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::describe::{Description, ProbeLimits, describe};
use super::register::{Numbers, Registration};
use super::status::WorkerStatus;
use super::tokenizer;
use crate::clock;
use crate::config;
use crate::pool::Pool;
use crate::upstream::{FetchError, Origin};

/// What a supervisor works with.
#[derive(Clone)]
pub(super) struct Supervision {
    /// The worker's pool.
    pub(super) pool: Arc<Pool>,
    /// The worker by config.
    pub(super) config: config::Worker,
    /// Bounds of questions.
    pub(super) probe: ProbeLimits,
    /// Between two health checks.
    pub(super) health_interval: Duration,
    /// Between two reports of load.
    pub(super) load_interval: Duration,
    /// Time that requests in flight have to end when the worker is taken out.
    pub(super) drain_timeout: Duration,
    /// Bounds of event feeds.
    pub(super) events: config::EventLimits,
    /// Numbers for workers and groups.
    pub(super) numbers: Arc<Numbers>,
    /// What the admin API shows.
    pub(super) status: Arc<WorkerStatus>,
}

/// Checks in a row that may fail before a worker that still takes connections counts as gone.
const FAILURES_MAX: u32 = 3;

/// Between two attempts at a worker that does not answer.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// How a worker stopped answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lost {
    /// Nobody listens: its process is gone, and its cache with it.
    Refused,
    /// It does not answer, or says that it cannot.
    Silent,
}

impl Supervision {
    /// Supervises until stopped, and takes the worker out then.
    pub(super) async fn run(self, stop: CancellationToken) {
        let id = self.numbers.worker();
        let mut registration = None;
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.attend(id, &mut registration) => {}
        }
        if let Some(registration) = registration {
            registration.drain(&self.pool, self.drain_timeout).await;
            registration.end(&self.pool).await;
        }
    }

    async fn attend(&self, id: WorkerId, registration: &mut Option<Registration>) {
        let origin = Origin {
            address: self.config.url.authority(),
            headers: self.config.headers.iter().cloned().collect(),
        };
        let alarm = Arc::new(Notify::new());
        loop {
            let description = self.describe(&origin).await;
            self.register(id, description, &alarm, registration).await;
            let Some(present) = registration.as_ref() else { continue };
            tokenizer::choose(&self.pool, &present.description, &origin, self.probe).await;
            present.set_availability(&self.pool, Availability::Ready);
            self.status.set("ready", None);
            let (how, error) = self.watch(present, &origin, &alarm).await;
            present.set_availability(&self.pool, Availability::Unhealthy);
            tracing::warn!(pool = self.pool.name, worker = %self.config.name, ?how, error, "worker lost");
            self.status.set("unhealthy", Some(error));
            if how == Lost::Refused {
                // Not when it is back: by then the feeds may have replayed what the new process has stored.
                present.restarted(&self.pool);
            }
        }
    }

    /// Asks until the worker answers.
    async fn describe(&self, origin: &Origin) -> Description {
        let mut pause = RETRY_PAUSE;
        let mut said = String::new();
        loop {
            match describe(&self.config, origin, self.probe).await {
                Ok(description) => return description,
                Err(error) => {
                    let error = error.to_string();
                    // Once for each reason, not for each attempt.
                    if error != said {
                        tracing::warn!(pool = self.pool.name, worker = %self.config.name, error, "no answer yet");
                        self.status.set("unreachable", Some(error.clone()));
                        said = error;
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    async fn register(
        &self,
        id: WorkerId,
        description: Description,
        alarm: &Arc<Notify>,
        registration: &mut Option<Registration>,
    ) {
        if registration.as_ref().is_some_and(|present| present.description == description) {
            tracing::info!(pool = self.pool.name, worker = %self.config.name, "worker is back");
            return;
        }
        if let Some(former) = registration.take() {
            tracing::info!(pool = self.pool.name, worker = %self.config.name, "worker has changed");
            former.end(&self.pool).await;
        }
        tracing::info!(
            pool = self.pool.name, worker = %self.config.name, engine = description.engine.name(),
            version = description.version, ranks = description.ranks.len(),
            block_size = description.block_size.map(|size| size.0),
            blocks_per_rank = description.ranks.first().map(|rank| rank.capacity_blocks),
            events = description.ranks.iter().filter(|rank| rank.events.is_some()).count(),
            "worker discovered",
        );
        for finding in &description.findings {
            tracing::warn!(pool = self.pool.name, worker = %self.config.name, "kv is blind here: {finding}");
        }
        let alarm = Arc::clone(alarm);
        *registration = Some(Registration::new(
            &self.pool,
            &self.numbers,
            id,
            &self.config,
            description,
            alarm,
            &self.events,
        ));
    }

    /// Watches a worker until it is lost.
    async fn watch(&self, present: &Registration, origin: &Origin, alarm: &Notify) -> (Lost, String) {
        let mut failures = 0;
        let mut next_health = Instant::now() + self.health_interval;
        let mut next_load = Instant::now();
        let engine = present.description.engine;
        loop {
            let checked = tokio::select! {
                () = sleep_until(next_health) => {
                    next_health = Instant::now() + self.health_interval;
                    self.check(origin, engine.health_path()).await
                }
                // A request could not connect: see at once whether that is so for everybody.
                () = alarm.notified() => self.check(origin, engine.health_path()).await,
                () = sleep_until(next_load) => {
                    next_load = Instant::now() + self.load_interval;
                    match engine.load_path() {
                        Some(path) => self.load(origin, path, present).await,
                        None => Ok(()),
                    }
                }
            };
            match checked {
                Ok(()) => failures = 0,
                Err((true, error)) => return (Lost::Refused, error),
                Err((false, error)) => {
                    failures += 1;
                    if failures >= FAILURES_MAX {
                        return (Lost::Silent, error);
                    }
                }
            }
        }
    }

    async fn check(&self, origin: &Origin, path: &str) -> Result<(), (bool, String)> {
        match origin.get(path, self.probe.bytes_max, self.probe.timeout).await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err((false, format!("{path}: status {}", answer.status.as_u16()))),
            Err(error) => Err((FetchError::is_refused(&error), format!("{path}: {error}"))),
        }
    }

    async fn load(&self, origin: &Origin, path: &str, present: &Registration) -> Result<(), (bool, String)> {
        match origin.get(path, self.probe.bytes_max, self.probe.timeout).await {
            Ok(answer) if answer.status.is_success() => {
                present.take_load(&answer.body, clock::now());
                Ok(())
            }
            // A figure that is missing shows by its age.
            Ok(_) => Ok(()),
            Err(error) => Err((error.is_refused(), format!("{path}: {error}"))),
        }
    }
}
