//! All workers of a pool: those of the config, and those added later.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::status::WorkerStatus;
use super::supervisors::Supervisors;
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
    status: Arc<WorkerStatus>,
    stop: CancellationToken,
    _task: AbortHandle,
}

/// A pool's workers and their supervisors. Tasks run on the runtime that calls.
pub struct Roster {
    pool: Arc<Pool>,
    supervisors: Supervisors,
    workers: Mutex<BTreeMap<String, Entry>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Roster {
    /// An empty one.
    pub fn new(pool: Arc<Pool>, supervisors: Supervisors) -> Self {
        Self { pool, supervisors, workers: Mutex::default(), tasks: Mutex::default() }
    }

    /// The pool that the workers are of.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Begins to supervise a worker of the first ones.
    ///
    /// # Errors
    /// When its name is taken or there are too many.
    pub fn begin_with(&self, worker: config::Worker) -> Result<(), RosterError> {
        self.supervise(worker, false)
    }

    /// Begins to supervise a worker that joins others, and comes to its share of the load slowly.
    ///
    /// # Errors
    /// When its name is taken or there are too many.
    pub fn add(&self, worker: config::Worker) -> Result<(), RosterError> {
        self.supervise(worker, true)
    }

    fn supervise(&self, worker: config::Worker, joins: bool) -> Result<(), RosterError> {
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
        let stop = CancellationToken::new();
        let mut tasks = self.tasks.lock();
        // Those that ended are not waited for by anybody else.
        while tasks.try_join_next().is_some() {}
        let task = tasks.spawn(supervision.run(stop.clone()));
        workers.insert(name, Entry { config: worker, status, stop, _task: task });
        Ok(())
    }

    /// Ends a worker's supervision, which takes it out of its pool.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn remove(&self, name: &str) -> Result<(), RosterError> {
        let entry = self.workers.lock().remove(name).ok_or_else(|| RosterError::Unknown(name.to_owned()))?;
        entry.stop.cancel();
        Ok(())
    }

    /// Names, configs and states.
    pub fn list(&self) -> Vec<(config::Worker, Arc<WorkerStatus>)> {
        let workers = self.workers.lock();
        workers.values().map(|entry| (entry.config.clone(), Arc::clone(&entry.status))).collect()
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
