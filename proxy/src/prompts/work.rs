//! What reading prompts shares over all pools: the cache, and the threads for prompts too long to be read between two requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use rankwise_prompt::{Api, Body, BodyError, PromptCache};
use tokio::sync::Semaphore;

/// A longer body's JSON is not checked on a request thread: half a millisecond's worth.
const READ_BYTES_MAX: usize = 1 << 20;

/// Bounds of [`PromptWork`].
#[derive(Clone, Copy, Debug)]
pub struct WorkLimits {
    /// Long prompts read at once.
    pub running_max: usize,
    /// Long prompts waiting for their turn.
    pub waiting_max: usize,
    /// For one, waiting included.
    pub timeout: Duration,
}

/// See the module.
pub struct PromptWork {
    /// What is known of earlier prompts.
    pub cache: PromptCache,
    limits: WorkLimits,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl PromptWork {
    /// With an empty cache.
    pub fn new(cache: PromptCache, limits: WorkLimits) -> Self {
        let turns = Arc::new(Semaphore::new(limits.running_max));
        Self { cache, limits, turns, waiting: AtomicUsize::new(0) }
    }

    /// A body, checked and with its fields found.
    ///
    /// # Errors
    /// [`BodyError::Json`].
    pub async fn read(self: &Arc<Self>, api: Api, bytes: Bytes) -> Result<Body, BodyError> {
        if bytes.len() > READ_BYTES_MAX {
            let (work, bytes) = (Arc::clone(self), bytes.clone());
            if let Some(body) = self.aside(move || Body::read(api, bytes, Some(&work.cache))).await {
                return body;
            }
        }
        Body::read(api, bytes, Some(&self.cache))
    }

    /// Does `work` on another thread. `None` if too much waits there already, or it takes too long.
    pub async fn aside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let place = Place::enter(&self.waiting, self.limits.waiting_max)?;
        let turn = async {
            let turn = Arc::clone(&self.turns).acquire_owned().await.ok()?;
            drop(place);
            // Once begun it goes on to its end, and keeps its turn until then.
            let done = tokio::task::spawn_blocking(move || {
                let result = work();
                drop(turn);
                result
            });
            done.await.ok()
        };
        tokio::time::timeout(self.limits.timeout, turn).await.ok().flatten()
    }
}

/// A place among those that wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn enter(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        if waiting.fetch_add(1, Relaxed) >= max {
            waiting.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rankwise_core::hash::HashKey;
    use tokio::task::JoinSet;

    use super::*;

    fn work(running_max: usize, waiting_max: usize) -> Arc<PromptWork> {
        let cache = PromptCache::new(1 << 20, HashKey::new([1; 32]));
        let timeout = Duration::from_secs(10);
        Arc::new(PromptWork::new(cache, WorkLimits { running_max, waiting_max, timeout }))
    }

    #[tokio::test]
    async fn no_more_than_allowed_wait() {
        let work = work(1, 1);
        let (release, held) = mpsc::channel::<()>();
        let mut tasks = JoinSet::new();
        tasks.spawn({
            let work = Arc::clone(&work);
            async move { work.aside(move || held.recv().is_ok()).await }
        });
        while work.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        tasks.spawn({
            let work = Arc::clone(&work);
            async move { work.aside(|| true).await }
        });
        while work.waiting.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(work.aside(|| true).await, None);
        release.send(()).unwrap();
        assert_eq!(tasks.join_all().await, [Some(true), Some(true)]);
        assert_eq!(work.waiting.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn a_long_body_is_read_aside_and_all_the_same() {
        let work = work(1, 1);
        let text = "x".repeat(READ_BYTES_MAX);
        let body = Bytes::from(format!("{{\"model\":\"m\",\"prompt\":\"{text}\"}}"));
        assert!(work.read(Api::Completions, body.slice(..body.len() - 1)).await.is_err());
        let read = work.read(Api::Completions, body).await.unwrap();
        assert_eq!(read.routing_fields().unwrap().model, "m");
    }
}
