//! The thread that makes spare instances and drops old ones, so that a request's thread need not.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Jobs that may wait. More than that are done by whoever has them (drop) or asked for again (refill).
const JOBS_MAX: usize = 256;

type Job = Box<dyn FnOnce() + Send>;

/// The thread, until this is dropped.
pub(crate) struct Maker {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

/// Jobs for it.
#[derive(Default)]
pub(crate) struct Inbox {
    jobs: Mutex<Jobs>,
    come: Condvar,
    /// Jobs came of which the thread was not told.
    untold: AtomicBool,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    over: bool,
}

impl Maker {
    pub(crate) fn start() -> std::io::Result<Self> {
        let inbox = Arc::<Inbox>::default();
        inbox.jobs().waiting.reserve(JOBS_MAX);
        let todo = Arc::clone(&inbox);
        let thread = thread::Builder::new().name("policy-maker".into()).spawn(move || todo.work())?;
        Ok(Self { inbox, thread: Some(thread) })
    }

    /// Where its jobs are: whoever ticks tells it of them.
    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    /// Hands over a job, without waiting and without waking anybody: to wake a thread takes longer than a pick, and the next tick
    /// does. Whether it was taken; if not it is dropped here, with all it holds.
    pub(crate) fn hand_over(&self, job: impl FnOnce() + Send + 'static) -> bool {
        let mut jobs = self.inbox.jobs();
        if jobs.waiting.len() >= JOBS_MAX {
            return false;
        }
        jobs.waiting.push_back(Box::new(job));
        self.inbox.untold.store(true, Ordering::Release);
        true
    }

    /// Waits until the jobs handed over so far are done, at most so long. Not for the maker's own thread.
    pub(crate) fn settle(&self, at_most: Duration) {
        let (done, wait) = sync_channel(1);
        let signal = move || {
            // Who waited may have given up.
            let _ = done.try_send(());
        };
        let is_taken = self.hand_over(signal);
        self.inbox.tell();
        if is_taken {
            let _ = wait.recv_timeout(at_most);
        }
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.inbox.jobs().over = true;
        self.inbox.come.notify_all();
        // The last policy may be dropped by the maker itself.
        if let Some(thread) = self.thread.take_if(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Inbox {
    /// Wakes the thread if it has not been told of a job.
    pub(crate) fn tell(&self) {
        if self.untold.load(Ordering::Acquire) {
            // Under the lock, so that it is either waiting or yet to look.
            let _jobs = self.jobs();
            self.untold.store(false, Ordering::Release);
            self.come.notify_one();
        }
    }

    fn work(&self) {
        let mut jobs = self.jobs();
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                drop(jobs);
                job();
                jobs = self.jobs();
            } else if jobs.over {
                return;
            } else {
                jobs = self.come.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_done_once_it_is_told_of() {
        let maker = Maker::start().unwrap();
        let (done, wait) = sync_channel(1);
        assert!(maker.hand_over(move || done.send(()).unwrap()));
        maker.inbox().tell();
        assert_eq!(wait.recv_timeout(Duration::from_secs(30)), Ok(()));
    }

    #[test]
    fn what_was_handed_over_is_done_before_it_ends_and_too_much_is_given_back() {
        let maker = Maker::start().unwrap();
        let (go, wait) = sync_channel::<()>(0);
        let held = Mutex::new(wait);
        let done = Arc::new(Mutex::new(0));
        assert!(maker.hand_over(move || held.lock().unwrap().recv().unwrap()));
        maker.inbox().tell();
        // Until the thread has taken that one, there is room for one less.
        while !maker.inbox.jobs().waiting.is_empty() {
            thread::yield_now();
        }
        let count = |done: &Arc<Mutex<usize>>| {
            let done = Arc::clone(done);
            move || *done.lock().unwrap() += 1
        };
        for _ in 0..JOBS_MAX {
            assert!(maker.hand_over(count(&done)));
        }
        assert!(!maker.hand_over(count(&done)));
        go.send(()).unwrap();
        drop(maker);
        assert_eq!(*done.lock().unwrap(), JOBS_MAX);
    }
}
