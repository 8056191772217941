//! The thread that advances the engines' epochs, so that a long call is looked at about every millisecond, and tells the maker of its jobs.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::deadline::TICK;
use crate::engine::Engines;
use crate::maker::Inbox;

/// Ticks until it is dropped.
pub(crate) struct Ticker {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    pub(crate) fn start(engines: &Arc<Engines>, inbox: Arc<Inbox>) -> std::io::Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (engines, told) = (Arc::clone(engines), Arc::clone(&stop));
        let thread = thread::Builder::new().name("policy-epoch".into()).spawn(move || {
            let (stopped, changed) = &*told;
            let mut guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                // Counted from the last tick, never caught up: a tick is never shorter than TICK, so that a call cannot
                // be charged for two that came at once.
                let (stopped, timeout) =
                    changed.wait_timeout(guard, TICK).unwrap_or_else(PoisonError::into_inner);
                if *stopped {
                    return;
                }
                if timeout.timed_out() {
                    engines.increment_epoch();
                    inbox.tell();
                }
                guard = stopped;
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        let (stopped, changed) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
