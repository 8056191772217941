//! The thread that compiles large policies once more, as long as somebody uses them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;

use crate::compile::{self, Compiled};
use crate::config::HostConfig;
use crate::engine::Engines;

/// Policies that may wait for it.
const WAITING_MAX: usize = 16;

struct Job {
    compiled: Weak<Compiled>,
    wasm: Vec<u8>,
}

/// Hands policies to the thread, which ends after the last of them once this is dropped.
pub(crate) struct Optimizer {
    jobs: SyncSender<Job>,
}

impl Optimizer {
    pub(crate) fn start(engines: &Arc<Engines>, config: &HostConfig) -> std::io::Result<Self> {
        let (jobs, todo) = sync_channel(WAITING_MAX);
        let (engines, config) = (Arc::clone(engines), config.clone());
        // Not joined: a host that is dropped shall not wait for half a minute's work that nobody wants any more.
        thread::Builder::new()
            .name("policy-optimize".into())
            .spawn(move || work(&todo, &engines, &config))?;
        Ok(Self { jobs })
    }

    /// Has it optimized, if there is room; else it stays as it is.
    pub(crate) fn hand_over(&self, compiled: &Arc<Compiled>, wasm: &[u8]) {
        let job = Job { compiled: Arc::downgrade(compiled), wasm: wasm.to_vec() };
        if self.jobs.try_send(job).is_err() {
            tracing::warn!(policy = %compiled.version(), "not optimized: too many policies wait for it");
        }
    }
}

fn work(todo: &Receiver<Job>, engines: &Engines, config: &HostConfig) {
    while let Ok(Job { compiled, wasm }) = todo.recv() {
        if let Some(compiled) = compiled.upgrade() {
            compile::optimize(engines, config, &compiled, &wasm);
        }
    }
}
