//! All workers of a pool, whoever named them, and their supervisors.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::status::WorkerStatus;
use super::supervisors::Supervisors;
use super::worker_set::{Source, WorkerSet};
use crate::config;
use crate::pool::Pool;

/// Why a worker was not added or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RosterError {
    /// The name is taken.
    #[error("there is a worker {0} already")]
    Known(String),
    /// There is none of this name.
    #[error("there is no worker {0}")]
    Unknown(String),
    /// There are too many.
    #[error("there are {0} workers already, as many as may be")]
    Full(usize),
}

struct Entry {
    config: config::Worker,
    source: Source,
    status: Arc<WorkerStatus>,
    stop: CancellationToken,
    /// Cancelled once nothing of it is left.
    gone: CancellationToken,
}

/// A pool's workers and their supervisors. Tasks run on the runtime that calls.
pub struct Roster {
    pool: Arc<Pool>,
    supervisors: Supervisors,
    workers: Mutex<BTreeMap<String, Entry>>,
    /// Those that were taken out and are not gone yet, by name: who takes a name waits for it.
    leaving: Mutex<BTreeMap<String, CancellationToken>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Roster {
    /// An empty one.
    pub fn new(pool: Arc<Pool>, supervisors: Supervisors) -> Self {
        Self {
            pool,
            supervisors,
            workers: Mutex::default(),
            leaving: Mutex::default(),
            tasks: Mutex::default(),
        }
    }

    /// The pool that the workers are of.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Begins to supervise a worker of the admin API's, which joins those that there are.
    ///
    /// # Errors
    /// When its name is taken or there are too many.
    pub fn add(&self, worker: config::Worker) -> Result<(), RosterError> {
        self.supervise(worker, Source::Admin, true)
    }

    /// Begins to supervise what a source names first.
    pub fn begin(&self, set: WorkerSet) {
        for worker in set.workers {
            self.take_on(worker, set.source, false);
        }
    }

    /// Brings what a source has named so far in line with what it names now: new workers are added, those that it no
    /// longer names drained, those that it describes otherwise replaced. What other sources named is left alone. Returns when that is
    /// done: nobody leaves before somebody else may be picked, but for `handover` at most. `joins`: others serve already.
    pub async fn apply(&self, set: WorkerSet, handover: Duration, joins: bool) {
        let began = Instant::now();
        let left = || handover.saturating_sub(began.elapsed());
        let WorkerSet { source, workers } = set;
        let known: BTreeMap<String, config::Worker> = {
            let entries = self.workers.lock();
            let own = entries.iter().filter(|(_, entry)| entry.source == source);
            own.map(|(name, entry)| (name.clone(), entry.config.clone())).collect()
        };
        let names: BTreeSet<&str> = workers.iter().map(|worker| &*worker.name).collect();
        let unnamed: Vec<&str> =
            known.keys().map(String::as_str).filter(|name| !names.contains(name)).collect();
        let is_new = |worker: &&config::Worker| !known.contains_key(&*worker.name);
        for worker in workers.iter().filter(is_new) {
            self.take_on(worker.clone(), source, joins);
        }
        for name in &unnamed {
            tracing::info!(pool = self.pool.name, worker = name, ?source, "worker is no longer named");
            self.let_go(name, &unnamed, left()).await;
        }
        for worker in &workers {
            if known.get(&*worker.name).is_some_and(|former| former != worker) {
                tracing::info!(pool = self.pool.name, worker = %worker.name, ?source, "worker is described otherwise");
                self.let_go(&worker.name, &[], left()).await;
                self.take_on(worker.clone(), source, joins);
            }
        }
    }

    fn take_on(&self, worker: config::Worker, source: Source, joins: bool) {
        let name = Arc::clone(&worker.name);
        if let Err(error) = self.supervise(worker, source, joins) {
            tracing::warn!(pool = self.pool.name, worker = %name, ?source, %error, "worker not added");
        }
    }

    /// Takes a worker out, as soon as another one may be picked that is not about to leave as well; or after `handover`, or if
    /// there is no other to wait for. With no time left it still looks.
    async fn let_go(&self, name: &str, leaving: &[&str], handover: Duration) {
        let stays = |other: &str| other != name && !leaving.contains(&other);
        // By those supervised now: a former self of one of them may be about to drain.
        let is_relieved = || {
            let workers = self.workers.lock();
            let mut others = workers.iter().filter(|(other, _)| stays(other)).peekable();
            others.peek().is_none() || others.any(|(_, entry)| entry.status.is_ready())
        };
        let relieved = async {
            loop {
                // Before the look, so that no change after it is missed.
                let changed = self.pool.load_changes();
                if is_relieved() {
                    return;
                }
                changed.await;
            }
        };
        // Late or not, it goes.
        let _ = tokio::time::timeout(handover, relieved).await;
        // Somebody else may have taken it out meanwhile.
        let _ = self.remove(name);
    }

    fn supervise(&self, worker: config::Worker, source: Source, joins: bool) -> Result<(), RosterError> {
        let mut workers = self.workers.lock();
        let name = worker.name.to_string();
        if workers.contains_key(&name) {
            return Err(RosterError::Known(name));
        }
        let workers_max = self.supervisors.workers_max();
        if workers.len() >= workers_max {
            return Err(RosterError::Full(workers_max));
        }
        let supervision = self.supervisors.of(&self.pool, worker.clone(), joins);
        let status = Arc::clone(&supervision.status);
        let (stop, gone) = (CancellationToken::new(), CancellationToken::new());
        let former = self.leaving.lock().remove(&name);
        let mut tasks = self.tasks.lock();
        // Those that ended are not waited for by anybody else.
        while tasks.try_join_next().is_some() {}
        let (stopped, left) = (stop.clone(), gone.clone().drop_guard());
        tasks.spawn(async move {
            if let Some(former) = former {
                former.cancelled().await;
            }
            supervision.run(stopped).await;
            drop(left);
        });
        workers.insert(name, Entry { config: worker, source, status, stop, gone });
        Ok(())
    }

    /// Ends a worker's supervision, which takes it out of its pool.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn remove(&self, name: &str) -> Result<(), RosterError> {
        let entry = self.workers.lock().remove(name).ok_or_else(|| RosterError::Unknown(name.to_owned()))?;
        entry.stop.cancel();
        let mut leaving = self.leaving.lock();
        leaving.retain(|_, gone| !gone.is_cancelled());
        leaving.insert(name.to_owned(), entry.gone);
        Ok(())
    }

    /// Configs, who named them, and states.
    pub fn list(&self) -> Vec<(config::Worker, Source, Arc<WorkerStatus>)> {
        let workers = self.workers.lock();
        let entries = workers.values();
        entries.map(|entry| (entry.config.clone(), entry.source, Arc::clone(&entry.status))).collect()
    }

    /// Ends all.
    pub async fn stop(&self) {
        for entry in self.workers.lock().values() {
            entry.stop.cancel();
        }
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        while tasks.join_next().await.is_some() {}
    }
}
