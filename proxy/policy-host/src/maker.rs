//! The thread that makes spare instances and drops old ones, so that a request's thread need not.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Jobs that may wait. More than that are done by whoever has them (drop) or asked for again (refill).
const JOBS_MAX: usize = 256;

type Job = Box<dyn FnOnce() + Send>;

/// The thread, until this is dropped.
pub(crate) struct Maker {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Maker {
    pub(crate) fn start() -> std::io::Result<Self> {
        let (jobs, todo) = sync_channel(JOBS_MAX);
        let thread = thread::Builder::new().name("policy-maker".into()).spawn(move || work(&todo))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Hands over a job, without waiting. Whether it was taken; if not it is dropped here, with all it holds.
    pub(crate) fn hand_over(&self, job: impl FnOnce() + Send + 'static) -> bool {
        match self.jobs.as_ref().map(|jobs| jobs.try_send(Box::new(job))) {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => false,
        }
    }

    /// Waits until the jobs handed over so far are done, at most so long. Not for the maker's own thread.
    pub(crate) fn settle(&self, at_most: Duration) {
        let (done, wait) = sync_channel(1);
        let signal = move || {
            // Who waited may have given up.
            let _ = done.try_send(());
        };
        if self.hand_over(signal) {
            let _ = wait.recv_timeout(at_most);
        }
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.jobs = None;
        // The last policy may be dropped by the maker itself.
        if let Some(thread) = self.thread.take_if(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

fn work(todo: &Receiver<Job>) {
    while let Ok(job) = todo.recv() {
        job();
    }
}
