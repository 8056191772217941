//! How it stands with a worker, in a word.

use parking_lot::Mutex;

/// The state of a worker that serves.
pub(super) const READY: &str = "ready";

/// What a worker's supervisor last found.
#[derive(Debug, Default)]
pub struct WorkerStatus(Mutex<(&'static str, Option<String>)>);

impl WorkerStatus {
    /// Notes it.
    pub fn set(&self, state: &'static str, reason: Option<String>) {
        *self.0.lock() = (state, reason);
    }

    /// Whether it serves.
    pub fn is_ready(&self) -> bool {
        self.0.lock().0 == READY
    }

    /// The state in one word, and why.
    pub fn get(&self) -> (&'static str, Option<String>) {
        let status = self.0.lock();
        (if status.0.is_empty() { "starting" } else { status.0 }, status.1.clone())
    }
}
