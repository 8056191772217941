//! The load of one rank as it publishes it: fresher than what its worker answers when asked.
//!
//! Nothing is kept but the last message, and none is replayed: what is lost is outdated by the next, a second later at most.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use rankwise_core::ids::Millis;
use rankwise_core::target::Target;
use rankwise_engines::discovery::LoadEndpoint;
use rankwise_engines::sglang::load::published;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use zeromq::{Socket, SocketEvent, SocketRecv, SubSocket, ZmqError};

use super::subscribe::subscribe;
use crate::clock;
use crate::metrics::TargetMetrics;

/// One rank's.
pub struct LoadFeed {
    /// Which rank.
    pub target: Arc<Target>,
    /// Where it publishes.
    pub source: LoadEndpoint,
    /// When it was heard last.
    pub heard: Arc<LastHeard>,
    /// Counters.
    pub metrics: TargetMetrics,
    /// For logs: `worker a rank 0`.
    pub place: String,
    /// For connecting.
    pub connect_timeout: Duration,
}

/// When a rank last told its load by itself.
#[derive(Debug)]
pub struct LastHeard(AtomicU64);

/// A rank speaks every second: silent for longer than this, it is asked again.
const SILENCE_MS: u64 = 3000;

const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);

impl Default for LastHeard {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl LastHeard {
    /// Whether what it said is fresher than what its worker would answer.
    pub fn is_recent(&self, now: Millis) -> bool {
        let at = self.0.load(Relaxed);
        at != u64::MAX && now.since(Millis(at)) <= SILENCE_MS
    }

    fn note(&self, now: Millis) {
        self.0.store(now.0, Relaxed);
    }
}

/// Runs the feed until it is stopped.
pub async fn run_load(mut feed: LoadFeed, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = feed.stay_connected() => {}
    }
}

impl LoadFeed {
    async fn stay_connected(&mut self) {
        let (mut pause, mut said) = (RECONNECT_PAUSE, None);
        loop {
            let LoadEndpoint { live, topic, .. } = &self.source;
            let error = match subscribe(topic, live, self.connect_timeout).await {
                Ok(socket) => {
                    pause = RECONNECT_PAUSE;
                    self.listen(socket, &mut said).await
                }
                Err(error) => error,
            };
            tracing::debug!(place = self.place, endpoint = self.source.live, %error, "load not heard");
            sleep(pause).await;
            pause = (pause * 2).min(RECONNECT_PAUSE_MAX);
        }
    }

    /// Reads until the connection is gone.
    async fn listen(&self, mut socket: SubSocket, said: &mut Option<String>) -> ZmqError {
        let mut monitor = socket.monitor();
        loop {
            tokio::select! {
                message = socket.recv() => match message {
                    Ok(message) => self.hear(&message.into_vec(), said),
                    Err(error) => return error,
                },
                event = monitor.next() => if let Some(SocketEvent::Disconnected(_)) | None = event {
                    return ZmqError::Other("the publisher closed the connection");
                },
            }
        }
    }

    /// Takes a message: topic, sequence number, payload. What is wrong with them is said once, not for each.
    fn hear(&self, frames: &[Bytes], said: &mut Option<String>) {
        let Err(error) = self.take(frames) else { return };
        if said.as_ref() != Some(&error) {
            tracing::warn!(place = self.place, endpoint = self.source.live, error, "load message of no use");
            *said = Some(error);
        }
    }

    fn take(&self, frames: &[Bytes]) -> Result<(), String> {
        let payload = frames.last().ok_or("no frames")?;
        let message = published(payload).map_err(|error| error.to_string())?;
        if message.rank.is_some_and(|rank| rank != self.source.rank) {
            return Err("it is another rank's: is the endpoint right?".to_owned());
        }
        let now = clock::now();
        self.target.engine.set(message.report, now);
        self.heard.note(now);
        self.metrics.load_messages.inc();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_that_is_silent_is_asked_again() {
        let heard = LastHeard::default();
        assert!(!heard.is_recent(Millis(0)));
        heard.note(Millis(5));
        assert!(heard.is_recent(Millis(5 + SILENCE_MS)));
        assert!(!heard.is_recent(Millis(6 + SILENCE_MS)));
    }
}
