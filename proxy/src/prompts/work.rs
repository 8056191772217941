//! What reading prompts shares over all pools: the cache, and the threads for prompts too long to be read between two requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use rankwise_prompt::{
    Api, Body, BodyError, Hashing, PromptCache, PromptEncoder, PromptHashes, block_hashes,
};
use tokio::sync::Semaphore;

// What of JSON or of text is read on a request thread: less than half a millisecond's worth of each.

/// Bytes that are hashed to find out whether a body's beginning is known.
const HASHED_BYTES_MAX: usize = 2 << 20;
/// Bytes of JSON that are checked.
const CHECKED_BYTES_MAX: usize = 512 << 10;
/// Bytes of JSON that are numbers to be read.
const NUMBERS_BYTES_MAX: usize = 64 << 10;

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
        let (work, copy) = (Arc::clone(self), bytes.clone());
        let body = if bytes.len() > HASHED_BYTES_MAX {
            self.aside(move || work.cache.read(api, copy)).await
        } else {
            let beginning = self.cache.recognise(api, &bytes);
            let new = bytes.len() - beginning.bytes();
            self.do_or_aside(new <= CHECKED_BYTES_MAX, move || Body::read_from(api, copy, beginning)).await
        };
        // It has to be read to be answered at all, so without a turn it is read here.
        body.unwrap_or_else(|| self.cache.read(api, bytes))
    }

    /// The block hashes of a body that brings its token ids. `None`: they were not read in time.
    ///
    /// # Errors
    /// A [`BodyError`] that is the client's fault.
    pub async fn given(
        self: &Arc<Self>,
        body: &Body,
        hashing: Hashing<'_>,
    ) -> Result<Option<PromptHashes>, BodyError> {
        let copy = body.clone();
        let given = self.read_numbers(body.bytes().len(), move || copy.given_token_ids()).await;
        let given = given.transpose()?.flatten();
        Ok(given.map(|given| block_hashes(&given, self.cache.key(), hashing)))
    }

    /// The block hashes of a body's prompt as `encoder` encodes it: here if it is short or mostly known, else aside, so that other requests
    /// of this thread do not wait for it. `None`: they were not found in time.
    ///
    /// # Errors
    /// A [`BodyError`].
    pub async fn hashes(
        self: &Arc<Self>,
        encoder: &Arc<PromptEncoder>,
        body: &Body,
        hashing: Hashing<'_>,
    ) -> Result<Option<PromptHashes>, BodyError> {
        let in_passing = encoder.bytes_in_passing();
        if body.new_bytes() <= in_passing
            && let Some(hashes) = encoder.continue_body(body, hashing, &self.cache)?
        {
            return Ok(Some(hashes));
        }
        if body.bytes().len() <= in_passing {
            return encoder.block_hashes(body, hashing, &self.cache).map(Some);
        }
        let (work, encoder, body) = (Arc::clone(self), Arc::clone(encoder), body.clone());
        let (namespace, sizes) = (hashing.namespace, hashing.sizes.to_vec());
        let long = move || encoder.block_hashes(&body, Hashing { namespace, sizes: &sizes }, &work.cache);
        self.aside(long).await.transpose()
    }

    /// Reads numbers in JSON: aside if they are many.
    pub async fn read_numbers<T: Send + 'static>(
        &self,
        bytes: usize,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.do_or_aside(bytes <= NUMBERS_BYTES_MAX, read).await
    }

    async fn do_or_aside<T: Send + 'static>(
        &self,
        little: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if little { Some(work()) } else { self.aside(work).await }
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
        let text = "x".repeat(CHECKED_BYTES_MAX);
        let body = Bytes::from(format!("{{\"model\":\"m\",\"prompt\":\"{text}\"}}"));
        assert!(work.read(Api::Completions, body.slice(..body.len() - 1)).await.is_err());
        let read = work.read(Api::Completions, body).await.unwrap();
        assert_eq!(read.routing_fields().unwrap().model, "m");
    }
}
