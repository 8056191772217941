//! The whole fleet, and the handles that tests and the demo hold.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arrivals::{Arrival, Served};
use super::clock::Clock;
use super::driver::GroupDriver;
use super::event_wire::BatchStyle;
use super::faults::{Fault, Faults};
use super::feed::RankFeed;
use super::frontend;
use super::process::Process;
use super::site::Site;
use super::text::Text;
use super::transfer::Transfers;
use super::worker::{Worker, WorkerParts};
use crate::error::SimError;
use crate::model::chain::ChainHash;
use crate::model::core::{CoreSpec, RankStats};
use crate::model::group::Group;
use crate::model::host::HostSpec;
use crate::model::pool::CachedBlock;
use crate::model::time::Micros;
use crate::spec::{EngineWire, FleetSpec};

/// A running fleet. Dropping it ends its tasks; [`Fleet::stop`] also waits for them.
pub struct Fleet {
    workers: Vec<WorkerHandle>,
    clock: Clock,
    cancel: CancellationToken,
    tasks: TaskTracker,
}

/// What all workers have in common.
struct Shared {
    text: Arc<Text>,
    transfers: Arc<Transfers>,
}

impl Fleet {
    /// Opens all sockets on loopback and starts the clock. Call within a tokio runtime.
    ///
    /// # Errors
    /// The spec contradicts itself, a port is taken, or the tokenizer's folder cannot be written.
    pub async fn start(spec: FleetSpec) -> Result<Self, SimError> {
        spec.check()?;
        let spec = Arc::new(spec);
        let text = Arc::new(Text::load(spec.state_dir.as_deref(), spec.engine.dialect())?);
        let clock = Clock::start(spec.speed);
        let shared = Shared { text, transfers: Arc::default() };
        let mut fleet =
            Self { workers: Vec::new(), clock, cancel: CancellationToken::new(), tasks: TaskTracker::new() };
        let indices: Vec<usize> = (0..spec.workers).collect();
        for indices in indices.chunks(spec.workers_per_group) {
            fleet.add_group(&spec, &shared, indices);
        }
        for worker in &fleet.workers {
            worker.0.start().await?;
        }
        if spec.has_frontend() {
            let processes: Arc<[_]> = fleet.workers.iter().map(|worker| Arc::clone(&worker.0)).collect();
            let (tasks, cancel) = (fleet.tasks.clone(), fleet.cancel.clone());
            frontend::start(&spec, processes, &tasks, cancel).await?;
        }
        Ok(fleet)
    }

    fn add_group(&mut self, spec: &Arc<FleetSpec>, shared: &Shared, indices: &[usize]) {
        let faults: Vec<_> = indices.iter().map(|_| Arc::new(Faults::default())).collect();
        let feeds: Vec<Vec<_>> = indices
            .iter()
            .zip(&faults)
            .map(|(&index, faults)| (0..spec.ranks).map(|rank| feed(spec, index, rank, faults)).collect())
            .collect();
        // A rank that steps for itself is a group of one.
        let groups: Vec<Vec<Arc<RankFeed>>> = if spec.lockstep {
            vec![feeds.concat()]
        } else {
            feeds.concat().into_iter().map(|feed| vec![feed]).collect()
        };
        let drivers: Vec<_> = groups
            .into_iter()
            .map(|feeds| {
                let stalls = spec.lockstep && spec.misfit_stalls_group;
                let group = Group::new(feeds.len(), core_spec(spec), spec.timing, stalls);
                Arc::new(GroupDriver::new(group, feeds, self.clock.clone()))
            })
            .collect();
        for driver in &drivers {
            let (driver, cancel) = (Arc::clone(driver), self.cancel.clone());
            self.tasks.spawn(async move { cancel.run_until_cancelled(driver.run()).await });
        }
        for (at, ((&index, faults), feeds)) in indices.iter().zip(faults).zip(feeds).enumerate() {
            let worker = Worker::new(WorkerParts {
                site: Site { index, spec: Arc::clone(spec) },
                ranks: (0..spec.ranks)
                    .map(|rank| match drivers.as_slice() {
                        [shared] => (Arc::clone(shared), at * spec.ranks + rank),
                        own => (Arc::clone(&own[at * spec.ranks + rank]), 0),
                    })
                    .collect(),
                clock: self.clock.clone(),
                feeds,
                faults,
                text: Arc::clone(&shared.text),
                transfers: Arc::clone(&shared.transfers),
            });
            self.workers.push(WorkerHandle(Arc::new(Process::new(worker, self.cancel.clone()))));
        }
    }

    /// The workers in order.
    pub fn workers(&self) -> &[WorkerHandle] {
        &self.workers
    }

    /// Simulated time since the start.
    pub fn now(&self) -> Micros {
        self.clock.now()
    }

    /// Stops simulated time: requests still arrive, and engines answer none of them until [`Fleet::release`].
    pub fn hold(&self) {
        self.clock.hold();
    }

    /// Lets simulated time go on.
    pub fn release(&self) {
        self.clock.release();
    }

    /// Lets so much simulated time pass, of which [`Fleet::now`] tells the end, and stops it.
    pub fn advance(&self, by: Micros) {
        self.clock.advance(by);
    }

    /// Empties the caches of all idle ranks; ranks tell it with their next step, as vLLM does.
    pub fn clear_caches(&self) {
        for worker in &self.workers {
            worker.clear_caches();
        }
    }

    /// Closes everything and waits until it is closed.
    pub async fn stop(self) {
        for worker in &self.workers {
            worker.0.stop().await;
        }
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn feed(spec: &FleetSpec, worker: usize, rank: usize, faults: &Arc<Faults>) -> Arc<RankFeed> {
    let hash_seed = if spec.hash_per_rank { 1 + (worker * spec.ranks + rank) as u64 } else { 0 };
    let style = BatchStyle {
        layout: spec.layout,
        block_size: spec.block_size,
        hash_seed,
        describes_host: spec.describes_host_blocks,
    };
    let global_rank = (spec.start_rank(worker) + rank) as u32;
    Arc::new(RankFeed::new(rank as u32, global_rank, style, spec, Arc::clone(faults)))
}

fn core_spec(spec: &FleetSpec) -> CoreSpec {
    CoreSpec {
        blocks: spec.blocks_per_rank - 1,
        host: HostSpec { blocks: spec.host_blocks, moves: spec.engine == EngineWire::Trtllm },
        block_size: spec.block_size,
        max_running: spec.max_running,
        max_waiting: spec.max_waiting,
        max_batched_tokens: spec.max_batched_tokens,
    }
}

/// One worker, from outside.
#[derive(Clone)]
pub struct WorkerHandle(Arc<Process>);

impl WorkerHandle {
    /// Whose wire it speaks.
    pub fn engine(&self) -> EngineWire {
        self.0.worker.site.spec.engine
    }

    /// The fleet's spec.
    pub fn spec(&self) -> &FleetSpec {
        &self.0.worker.site.spec
    }

    /// Its number in the fleet.
    pub fn index(&self) -> usize {
        self.0.worker.site.index
    }

    /// Its base URL, without a slash at the end. The same after a restart; its frontend's where all are behind one.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0.worker.ports().http)
    }

    /// What Dynamo's frontend calls it, where it is one of Dynamo's.
    pub fn instance_id(&self) -> Option<u64> {
        (self.engine() == EngineWire::Dynamo).then(|| self.0.worker.instance_id())
    }

    /// Where a rank publishes its KV events; `None` if there is no such rank.
    pub fn event_endpoint(&self, rank: usize) -> Option<String> {
        self.0.worker.ports().events.get(rank).map(|port| format!("tcp://127.0.0.1:{port}"))
    }

    /// Where a rank replays them; `None` if there is no such rank.
    pub fn replay_endpoint(&self, rank: usize) -> Option<String> {
        self.0.worker.ports().replays.get(rank).map(|port| format!("tcp://127.0.0.1:{port}"))
    }

    /// The last requests that arrived, oldest first, as many as the spec keeps.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.0.worker.arrivals.all()
    }

    /// The last sequences that were answered to their end, oldest first, as many as the spec keeps of arrivals.
    pub fn served(&self) -> Vec<Served> {
        self.0.worker.served.all()
    }

    /// Forgets both logs.
    pub fn clear_logs(&self) {
        self.0.worker.arrivals.clear();
        self.0.worker.served.clear();
    }

    /// Counters and current load, per rank.
    pub fn stats(&self) -> Vec<RankStats> {
        self.0.worker.stats()
    }

    /// What a rank's cache holds, exactly and now; empty if there is no such rank.
    pub fn cache(&self, rank: usize) -> Vec<CachedBlock> {
        self.0.worker.cache(rank)
    }

    /// The name that a rank gives a block in its events.
    pub fn wire_hash(&self, rank: usize, block: ChainHash) -> Option<u64> {
        self.0.worker.feeds.get(rank).map(|feed| feed.wire_hash(block))
    }

    /// The number that a rank gives its next batch of KV events; 0 if there is no such rank.
    pub fn next_sequence(&self, rank: usize) -> u64 {
        self.0.worker.feeds.get(rank).map_or(0, |feed| feed.next_sequence())
    }

    /// The folder with the tokenizer's files that its model card names.
    pub fn tokenizer_folder(&self) -> std::path::PathBuf {
        self.0.worker.text.root().to_owned()
    }

    /// Misbehaves from now on.
    pub fn fault(&self, fault: Fault) {
        self.0.worker.fault(fault);
    }

    /// Ends all misbehaviour.
    pub fn heal(&self) {
        self.0.worker.heal();
    }

    /// Empties the caches of its idle ranks; false if one was not idle.
    pub fn clear_caches(&self) -> bool {
        self.0.worker.clear_caches()
    }

    /// Ends as a killed process does: connections break, sequences and caches are lost.
    pub async fn stop(&self) {
        self.0.stop().await;
    }

    /// Comes back on the same ports, empty, sequence numbers from 0; nothing if it runs.
    ///
    /// # Errors
    /// A port is taken by somebody else by now.
    pub async fn start(&self) -> Result<(), SimError> {
        self.0.start().await
    }

    /// Stops and starts. As in vLLM, no event says so.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&self) -> Result<(), SimError> {
        self.0.stop().await;
        self.0.start().await
    }

    /// Stops and starts; each rank's first batch says that its cache is empty, as in SGLang.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart_announced(&self) -> Result<(), SimError> {
        self.0.stop().await;
        self.0.worker.clear_caches();
        self.0.start().await
    }
}
