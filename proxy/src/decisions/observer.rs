//! The thread that takes the decisions that were looked at.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;
use rankwise_policy_host::{Activation, ThreadPolicies};

use super::receipts::{DecidedBy, Receipt, Receipts};
use super::record::{Record, Truth};
use super::recording::Recorder;
use super::shadow::{self, ShadowJob};
use crate::metrics::DecisionMetrics;

/// What is added to the thread's nice value: requests come first.
const NICE: i32 = 10;
/// After so much quiet what was recorded is written out.
const FLUSH_AFTER: Duration = Duration::from_millis(500);

/// What the thread works on for one pool.
pub(super) struct Watch {
    pub(super) receipts: Receipts,
    pub(super) recorder: Mutex<Option<Recorder>>,
    pub(super) metrics: DecisionMetrics,
}

pub(super) enum Message {
    Decision {
        watch: Arc<Watch>,
        record: Box<Record>,
        activation: Option<Arc<Activation>>,
        shadow: Option<ShadowJob>,
        keep: bool,
    },
    Truth {
        watch: Arc<Watch>,
        id: u64,
        truth: Truth,
    },
    Stop,
}

/// Where decisions are handed over.
#[derive(Clone)]
pub struct ObserverQueue(SyncSender<Message>);

impl ObserverQueue {
    /// Whether it was taken. Never waits.
    pub(super) fn offer(&self, message: Message) -> bool {
        self.0.try_send(message).is_ok()
    }
}

/// The thread, until this is dropped.
pub struct Observer {
    queue: ObserverQueue,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Starts it, with room for so many decisions that wait.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(queue_max: usize) -> std::io::Result<Self> {
        let (queue, taken) = sync_channel(queue_max);
        let thread = thread::Builder::new().name("observer".into()).spawn(move || {
            // Linux has a nice value per thread. Without it looking is only less polite.
            let _ = rustix::process::nice(NICE);
            Work::default().run(&taken);
        })?;
        Ok(Self { queue: ObserverQueue(queue), thread: Some(thread) })
    }

    /// Where decisions are handed over.
    pub fn queue(&self) -> ObserverQueue {
        self.queue.clone()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // It takes what is in the queue before this.
        if self.queue.0.send(Message::Stop).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

#[derive(Default)]
struct Work {
    policies: ThreadPolicies,
    columns: Vec<u32>,
    /// Those whose recording has something to write out.
    unwritten: Vec<Arc<Watch>>,
}

impl Work {
    fn run(mut self, queue: &Receiver<Message>) {
        loop {
            match queue.recv_timeout(FLUSH_AFTER) {
                Ok(Message::Decision { watch, record, activation, shadow, keep }) => {
                    if let Some(shadow) = shadow {
                        self.ask(&watch, &shadow, &record, activation.as_ref());
                    }
                    if keep {
                        self.keep(&watch, *record, activation);
                    }
                }
                Ok(Message::Truth { watch, id, truth }) => {
                    watch.receipts.learn(id, &truth);
                    if let Some(recorder) = &mut *watch.recorder.lock() {
                        recorder.truth(id, &truth);
                    }
                    self.remember(watch);
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    self.flush();
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.flush();
                    self.policies.sweep();
                }
            }
        }
    }

    fn ask(
        &mut self,
        watch: &Watch,
        shadow: &ShadowJob,
        record: &Record,
        followed: Option<&Arc<Activation>>,
    ) {
        let (compared, promises, failure) =
            shadow::ask(&mut self.policies, &mut self.columns, shadow, record, followed);
        let trial = &shadow.trial;
        trial.figures.add(compared, promises);
        watch.metrics.compared(compared.name(), promises.map(|both| both.map(|one| one.cached_tokens)));
        watch.metrics.score_distances(trial.figures.distances());
        let policy = trial.activation().version();
        if let Some(failure) = &failure {
            tracing::debug!(%policy, %failure, "shadow failed");
        }
        if trial.count(failure.is_some()) {
            tracing::error!(%policy, ?failure, "shadow out of service after too many failures");
        }
    }

    fn keep(&mut self, watch: &Arc<Watch>, record: Record, activation: Option<Arc<Activation>>) {
        if let Some(recorder) = &mut *watch.recorder.lock() {
            let written = recorder.decision(&record, activation.as_deref());
            let counter = if written { &watch.metrics.recorded } else { &watch.metrics.recording_dropped };
            counter.inc();
        }
        watch.metrics.receipts.inc();
        let scores = activation.as_ref().and_then(|activation| {
            let scored = shadow::score(&mut self.policies, &mut self.columns, activation, &record)?;
            scored
                .inspect_err(|failure| tracing::debug!(policy = %activation.version(), %failure, "no scores"))
                .ok()
        });
        let policy = activation.as_deref().map(DecidedBy::from);
        watch.receipts.add(Receipt { record: Arc::new(record), policy, scores, truth: None });
        self.remember(Arc::clone(watch));
    }

    fn remember(&mut self, watch: Arc<Watch>) {
        if !self.unwritten.iter().any(|known| Arc::ptr_eq(known, &watch)) {
            self.unwritten.push(watch);
        }
    }

    fn flush(&mut self) {
        for watch in self.unwritten.drain(..) {
            if let Some(recorder) = &mut *watch.recorder.lock() {
                recorder.flush();
            }
        }
    }
}
