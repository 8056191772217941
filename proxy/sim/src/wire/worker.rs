//! One worker: its ranks, their feeds, what it does wrong, its logs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::arrivals::{Arrival, Log, Served};
use super::clock::Clock;
use super::conversations::Conversations;
use super::driver::{GroupDriver, Ticket};
use super::faults::{Fault, Faults};
use super::feed::{RankFeed, unix_seconds};
use super::metrics::{self, Sleep};
use super::ports::Ports;
use super::site::Site;
use super::stored::Stored;
use super::text::Text;
use super::transfer::Transfers;
use crate::model::core::{EngineCore, RankStats, Refusal};
use crate::model::pool::CachedBlock;
use crate::model::sequence::Prompt;

/// One worker of a fleet.
pub(super) struct Worker {
    pub(super) site: Site,
    pub(super) clock: Clock,
    /// Who runs each rank, and its place there.
    ranks: Vec<(Arc<GroupDriver>, usize)>,
    pub(super) feeds: Vec<Arc<RankFeed>>,
    pub(super) faults: Arc<Faults>,
    pub(super) text: Arc<Text>,
    pub(super) transfers: Arc<Transfers>,
    pub(super) conversations: Conversations,
    pub(super) stored: Stored,
    pub(super) arrivals: Log<Arrival>,
    pub(super) served: Log<Served>,
    pub(super) created: u64,
    arrivals_so_far: AtomicU64,
    /// Processes that came before.
    lives: AtomicU64,
    next_rank: AtomicUsize,
    stale: Mutex<Option<(Vec<RankStats>, Option<Sleep>)>>,
    asleep: Mutex<Option<Sleep>>,
    ports: Mutex<Ports>,
}

/// What a worker is made of.
pub(super) struct WorkerParts {
    pub(super) site: Site,
    pub(super) clock: Clock,
    pub(super) ranks: Vec<(Arc<GroupDriver>, usize)>,
    pub(super) feeds: Vec<Arc<RankFeed>>,
    pub(super) faults: Arc<Faults>,
    pub(super) text: Arc<Text>,
    pub(super) transfers: Arc<Transfers>,
}

impl Worker {
    pub(super) fn new(parts: WorkerParts) -> Self {
        let WorkerParts { site, clock, ranks, feeds, faults, text, transfers } = parts;
        let log_max = site.spec.arrivals_max;
        Self {
            arrivals: Log::new(log_max),
            served: Log::new(log_max),
            ports: Mutex::new(Ports::of(&site.spec, site.index)),
            site,
            clock,
            ranks,
            feeds,
            faults,
            text,
            transfers,
            conversations: Conversations::default(),
            stored: Stored::default(),
            created: unix_seconds() as u64,
            arrivals_so_far: AtomicU64::new(0),
            lives: AtomicU64::new(0),
            next_rank: AtomicUsize::new(0),
            stale: Mutex::default(),
            asleep: Mutex::default(),
        }
    }

    pub(super) fn next_arrival(&self) -> u64 {
        self.arrivals_so_far.fetch_add(1, Relaxed)
    }

    pub(super) fn ports(&self) -> Ports {
        self.ports.lock().clone()
    }

    /// What Dynamo calls it: another after every start, in no order.
    pub(super) fn instance_id(&self) -> u64 {
        const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;
        (1 + self.site.index as u64 + 10_000 * self.lives.load(Relaxed)).wrapping_mul(SCATTER)
    }

    pub(super) fn set_ports(&self, ports: Ports) {
        *self.ports.lock() = ports;
    }

    pub(super) fn fingerprint(&self) -> String {
        format!("vllm-0.32.0-dp{}-{:08x}", self.site.spec.ranks, self.site.spec.seed as u32)
    }

    /// The engine's own balancer: fewest requests, in turn among equals.
    pub(super) fn least_loaded_rank(&self) -> usize {
        let stats = self.stats();
        let start = self.next_rank.fetch_add(1, Relaxed);
        (0..stats.len())
            .map(|offset| (start + offset) % stats.len())
            .min_by_key(|&rank| stats[rank].running + stats[rank].waiting)
            .unwrap_or(0)
    }

    pub(super) fn submit(&self, rank: usize, prompt: Prompt) -> Result<Ticket, Refusal> {
        let (driver, place) = self.ranks.get(rank).ok_or(Refusal::Full)?;
        driver.submit(*place, prompt)
    }

    pub(super) fn stats(&self) -> Vec<RankStats> {
        let stats = |(driver, place): &(Arc<GroupDriver>, usize)| driver.rank(*place, EngineCore::stats);
        self.ranks.iter().map(|rank| stats(rank).unwrap_or_default()).collect()
    }

    pub(super) fn cache(&self, rank: usize) -> Vec<CachedBlock> {
        let cache = self.ranks.get(rank).and_then(|(driver, place)| driver.rank(*place, EngineCore::cache));
        cache.unwrap_or_default()
    }

    /// Clears every idle rank; false if one was not idle.
    pub(super) fn clear_caches(&self) -> bool {
        // Every rank is asked, whatever the others answer.
        self.ranks.iter().filter(|(driver, place)| !driver.clear_cache(*place)).count() == 0
    }

    /// vLLM's metrics page.
    pub(super) fn metrics_page(&self) -> String {
        let (stats, asleep) = self.report();
        metrics::page(&self.site, &stats, asleep)
    }

    /// What it answers when it is asked for the load of its ranks.
    pub(super) fn reported(&self) -> Vec<RankStats> {
        self.report().0
    }

    fn report(&self) -> (Vec<RankStats>, Option<Sleep>) {
        let stale = self.stale.lock().clone();
        stale.unwrap_or_else(|| (self.stats(), self.asleep()))
    }

    pub(super) fn fault(&self, fault: Fault) {
        self.faults.set(fault);
        match fault {
            Fault::DeadRank(rank) | Fault::DyingRank(rank, _) => self.lose(rank as usize),
            Fault::DropEvents(batches) => self.feeds.iter().for_each(|feed| feed.drop_next(batches)),
            Fault::StaleMetrics => {
                let report = self.report();
                *self.stale.lock() = Some(report);
            }
            _ => {}
        }
    }

    pub(super) fn heal(&self) {
        self.faults.heal();
        self.feeds.iter().for_each(|feed| feed.drop_next(0));
        *self.stale.lock() = None;
    }

    /// Ends what runs and empties the caches, of which the ranks tell with their next step. Nothing is served until it wakes up.
    pub(super) fn sleep(&self, how: Sleep) {
        *self.asleep.lock() = Some(how);
        for (driver, place) in &self.ranks {
            driver.abort_all(*place);
            driver.clear_cache(*place);
        }
    }

    pub(super) fn wake_up(&self) {
        *self.asleep.lock() = None;
    }

    pub(super) fn asleep(&self) -> Option<Sleep> {
        *self.asleep.lock()
    }

    /// As when its process ends: sequences and caches are lost, sequence numbers begin anew.
    pub(super) fn lose_everything(&self) {
        self.wake_up();
        self.conversations.forget();
        self.stored.forget();
        self.lives.fetch_add(1, Relaxed);
        (0..self.ranks.len()).for_each(|rank| self.lose(rank));
    }

    fn lose(&self, rank: usize) {
        let (Some((driver, place)), Some(feed)) = (self.ranks.get(rank), self.feeds.get(rank)) else {
            return;
        };
        driver.restart(*place);
        feed.restart();
    }
}
