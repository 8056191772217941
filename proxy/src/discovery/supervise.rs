//! The supervisor of one worker.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rankwise_core::ids::WorkerId;
use rankwise_core::target::Availability;
use rankwise_engines::Engine;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::describe::{ProbeLimits, describe};
use super::description::Description;
use super::find_worker::identify;
use super::frontends::{Seat, named_instance};
use super::register::{Bounds, Numbers, Registration};
use super::status::{READY, WorkerStatus};
use super::tokenizer;
use crate::clock;
use crate::config;
use crate::feeds::PromiseSettings;
use crate::health::HealthSettings;
use crate::pool::Pool;
use crate::proving::Attendant;
use crate::upstream::{FetchError, Origin};

/// What a supervisor works with.
#[derive(Clone)]
pub(super) struct Supervision {
    /// The worker's pool.
    pub(super) pool: Arc<Pool>,
    /// The worker by config.
    pub(super) config: config::Worker,
    /// Its place at its frontend, where it is behind one of Dynamo's.
    pub(super) seat: Option<Arc<Seat>>,
    /// Bounds of questions.
    pub(super) probe: ProbeLimits,
    /// Between two health checks.
    pub(super) health_interval: Duration,
    /// Between two reports of load.
    pub(super) load_interval: Duration,
    /// When its ranks are taken out, and how they come back.
    pub(super) health: HealthSettings,
    /// Whether it joins workers that serve already.
    pub(super) joins: bool,
    /// Time that requests in flight have to end when the worker is taken out.
    pub(super) drain_timeout: Duration,
    /// Bounds of event feeds.
    pub(super) events: config::EventLimits,
    /// When a rank's promises are broken too often.
    pub(super) promises: PromiseSettings,
    /// Numbers for workers and groups.
    pub(super) numbers: Arc<Numbers>,
    /// What the admin API shows.
    pub(super) status: Arc<WorkerStatus>,
}

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
    /// It sleeps, and keeps no cache.
    Asleep,
    /// It is another one now.
    Changed,
}

/// Between two looks at what a worker is, at the least.
const DESCRIBE_PAUSE: Duration = Duration::from_secs(1);

/// A worker may be seen between two states: what it is counts once it says so twice.
const SECOND_LOOK: Duration = Duration::from_millis(200);

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
        let by_config = Origin {
            address: self.config.url.authority(),
            headers: self.config.headers.iter().cloned().collect(),
            connect_timeout: self.probe.connect_timeout,
        };
        let alarm = Arc::new(Notify::new());
        let mut slowly = self.joins;
        loop {
            let description = self.describe(&by_config).await;
            let mut origin = by_config.clone();
            origin.headers.extend(description.headers());
            self.register(id, description, &alarm, registration).await;
            let Some(present) = registration.as_ref() else { continue };
            tokenizer::choose(&self.pool, &present.description, &origin, self.probe).await;
            let attendant = Attendant {
                pool: &self.pool,
                worker: &present.worker,
                origin: &origin,
                settings: self.health,
            };
            // As long as it does not serve, nobody but its own ranks is kept waiting.
            attendant.prove_all().await;
            present.set_availability(&self.pool, Availability::Ready, slowly);
            self.status.set(READY, None);
            // Another may wait with leaving for this one to serve.
            self.pool.load_changed();
            let (how, error) = tokio::select! {
                lost = self.watch(present, &origin, &alarm) => lost,
                () = attendant.attend() => continue,
            };
            slowly = true;
            present.set_availability(&self.pool, Availability::Unhealthy, slowly);
            tracing::warn!(pool = self.pool.name, worker = %self.config.name, ?how, error, "worker lost");
            self.status.set("unhealthy", Some(error));
            match how {
                Lost::Refused => {
                    // Not when it is back: by then the feeds may have replayed what the new process has stored. And one
                    // whose port alone was closed still holds what it held: that is read again.
                    present.restarted(&self.pool);
                    // Ranks that step with its own, on other workers, may wait for it in vain.
                    self.pool.doubt_others(&present.worker);
                }
                // That its ranks hold nothing any more they say with their next step: that of the proof.
                Lost::Asleep => present.unproven(),
                Lost::Silent | Lost::Changed => {}
            }
        }
    }

    /// Asks until the worker answers.
    async fn describe(&self, origin: &Origin) -> Description {
        let mut pause = RETRY_PAUSE;
        let mut said = String::new();
        loop {
            match self.describe_once(origin).await {
                Ok(description) => return description,
                Err(error) => {
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

    /// What it is, if it says that it serves.
    async fn describe_once(&self, origin: &Origin) -> Result<Description, String> {
        let described = describe(&self.config, origin, self.probe, None).await;
        let mut description = described.map_err(|error| error.to_string())?;
        let times = (self.events.timeout, self.health.proof_timeout);
        let found = identify(self.seat.as_deref(), origin, &mut description, times).await;
        found.map_err(|error| error.to_string())?;
        let checked = self.check(origin, description.engine).await;
        checked.map_err(|(_, error)| error)?;
        Ok(description)
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
            events = description.ranks.iter().filter(|rank| rank.events.is_some() || description.drained).count(),
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
            Bounds { events: &self.events, health: &self.health, promises: self.promises },
        ));
    }

    /// Watches a worker until it is lost.
    async fn watch(&self, present: &Registration, origin: &Origin, alarm: &Notify) -> (Lost, String) {
        let mut next_health = Instant::now() + self.health_interval;
        let mut next_load = Instant::now();
        let mut described = Instant::now();
        let engine = present.description.engine;
        loop {
            let is_look = tokio::select! {
                () = sleep_until(next_health) => true,
                // A request failed, or events stopped: see at once whether that is so for everybody.
                () = alarm.notified() => true,
                () = sleep_until(next_load) => false,
            };
            if !is_look {
                next_load = Instant::now() + self.load_interval;
                let Some(path) = engine.load_path() else { continue };
                match self.load(origin, path, present).await {
                    Ok(body) if engine.is_asleep(&body) => return (Lost::Asleep, format!("{path}: asleep")),
                    Ok(_) => {}
                    // What is wrong beside the figures is for the next look to find.
                    Err(_) => alarm.notify_one(),
                }
                continue;
            }
            next_health = Instant::now() + self.health_interval;
            present.doubt_unconfirmed(&self.pool);
            match self.check(origin, engine).await {
                Ok(()) => {}
                Err((true, error)) => return (Lost::Refused, error),
                Err((false, error)) => return (Lost::Silent, error),
            }
            if described.elapsed() >= DESCRIBE_PAUSE {
                described = Instant::now();
                if let Some(change) = self.changed(present, origin).await {
                    return (Lost::Changed, change);
                }
            }
        }
    }

    /// Whether it is another worker by now, by what it says twice. Models that come and go are taken note of.
    async fn changed(&self, present: &Registration, origin: &Origin) -> Option<String> {
        let known = present.description.takes_rank_fields;
        let origin = &Origin { headers: self.config.headers.iter().cloned().collect(), ..origin.clone() };
        let first = self.described_again(origin, known).await?;
        if !first.instances.is_empty() {
            return Some("which worker of its frontend it is has to be shown".to_owned());
        }
        if first.is_same_worker(&present.description) {
            present.take_models(&self.pool, &first);
            return None;
        }
        sleep(SECOND_LOOK).await;
        let second = self.described_again(origin, known).await?;
        let ranks = (present.description.ranks.len(), second.ranks.len());
        (second == first).then(|| format!("it is another worker now: {} dp ranks were {}", ranks.1, ranks.0))
    }

    /// What it is, without a look for the worker: it is the one that it was, if that is there.
    async fn described_again(&self, origin: &Origin, takes_rank_fields: Option<bool>) -> Option<Description> {
        let described = describe(&self.config, origin, self.probe, takes_rank_fields).await;
        let mut description = described.ok()?;
        if let Some(id) = self.seat.as_ref().and_then(|seat| seat.kept(&description.instances)) {
            description.instances.clear();
            description.instance = Some(id);
        }
        Some(description)
    }

    /// Whether it is well; if not, whether it is gone, and why.
    async fn check(&self, origin: &Origin, engine: Engine) -> Result<(), (bool, String)> {
        let path = engine.health_path();
        let instance = named_instance(&origin.headers);
        match origin.get(path, self.probe.bytes_max, self.probe.timeout).await {
            Ok(answer) if answer.status.is_success() && engine.lacks_worker(&answer.body, instance) => {
                Err((true, format!("{path}: worker {} is not there any more", instance.unwrap_or_default())))
            }
            Ok(answer) if answer.status.is_success() => Ok(()),
            Ok(answer) => Err((false, format!("{path}: status {}", answer.status.as_u16()))),
            Err(error) => Err((FetchError::is_refused(&error), format!("{path}: {error}"))),
        }
    }

    /// Takes note of its figures; what they are part of.
    async fn load(&self, origin: &Origin, path: &str, present: &Registration) -> Result<Bytes, FetchError> {
        let answer = origin.get(path, self.probe.bytes_max, self.probe.timeout).await?;
        // A figure that is missing shows by its age.
        if answer.status.is_success() {
            present.take_load(&answer.body, clock::now());
        }
        Ok(answer.body)
    }
}
