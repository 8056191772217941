//! The events of a bare server's ranks, as one caller drains them: in order, without gaps, and nothing believed that may be wrong.
//!
//! The caller posts to [`PATH`](super::events::PATH), one request at a time, and tells what came. There is no replay: what was lost,
//! because the engine's buffer overflowed or somebody else drains it too, is lost. The rank is emptied then, and
//! not trusted until its engine starts anew, says that its cache is empty, or has stored as many blocks since as it can hold,
//! by when what was lost is gone or as good as.

use rankwise_core::ids::Millis;

use super::cache::RankCache;
use super::events::{Change, Event};
use crate::events::{Skipped, Translation};
use crate::feed::{Completeness, FeedAction, FeedCounters};

/// What a drain is made with.
#[derive(Clone, Debug)]
pub struct DrainConfig {
    /// Usable blocks of each rank, one after the other; 0 where that is not known until the engine tells.
    pub capacities: Vec<u32>,
    /// The same for all ranks.
    pub translation: Translation,
    /// Blocks that are remembered of one rank at most. More are a loss of all of them.
    pub held_max: usize,
}

/// The state machine of one worker.
#[derive(Debug)]
pub struct Drain {
    ranks: Vec<DrainedRank>,
    strays: Strays,
    missing_since: Option<Millis>,
}

/// How it stands with one rank.
#[derive(Debug)]
pub struct DrainedRank {
    cache: RankCache,
    counters: FeedCounters,
    completeness: Completeness,
    expected: Option<u64>,
    capacity: u64,
    /// Blocks stored since the last loss.
    stored: u64,
}

/// Events that are of no rank that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strays {
    /// Of a rank beyond those that there should be.
    pub beyond: u64,
    /// They name no rank, and there should be several: the server runs without attention DP.
    pub unnamed: u64,
}

impl Drain {
    /// Of a worker that was not asked yet.
    pub fn new(config: &DrainConfig, now: Millis) -> Self {
        let rank = |capacity: &u32| DrainedRank {
            cache: RankCache::new(config.translation.clone(), config.held_max),
            counters: FeedCounters::default(),
            completeness: Completeness::Unreplayed,
            expected: None,
            capacity: (*capacity).into(),
            stored: 0,
        };
        Self {
            ranks: config.capacities.iter().map(rank).collect(),
            strays: Strays::default(),
            missing_since: Some(now),
        }
    }

    /// Its ranks, by number.
    pub fn ranks(&self) -> &[DrainedRank] {
        &self.ranks
    }

    /// Events that could not be given to a rank, so far.
    pub fn strays(&self) -> Strays {
        self.strays
    }

    /// Since when events may be due and missing; `None` while the worker answers.
    pub fn missing_since(&self) -> Option<Millis> {
        self.missing_since
    }

    /// The worker answered with these events, as [`decode`](super::events::decode) reads them; a long answer may come in pieces, in
    /// order. Appends what has to be done, with the rank's number.
    pub fn answered(&mut self, events: &[Event], out: &mut Vec<(usize, FeedAction)>) {
        self.missing_since = None;
        let several = self.ranks.len() > 1;
        for event in events {
            let number = match event.rank {
                Some(rank) => usize::try_from(rank).unwrap_or(usize::MAX),
                None if several => {
                    self.strays.unnamed += 1;
                    continue;
                }
                None => 0,
            };
            match self.ranks.get_mut(number) {
                Some(rank) => rank.take(number, event, out),
                None => self.strays.beyond += 1,
            }
        }
    }

    /// The worker answered what cannot be read: what it told is lost, for every rank.
    pub fn unreadable(&mut self, out: &mut Vec<(usize, FeedAction)>) {
        self.missing_since = None;
        for (number, rank) in self.ranks.iter_mut().enumerate() {
            rank.counters.decode_errors += 1;
            rank.lose(number, out);
        }
    }

    /// The worker did not answer. `gone`: nobody listens there, so that whoever answers next is another process.
    pub fn failed(&mut self, gone: bool, now: Millis, out: &mut Vec<(usize, FeedAction)>) {
        self.missing_since.get_or_insert(now);
        for (number, rank) in
            self.ranks.iter_mut().enumerate().filter(|(_, rank)| gone && rank.expected.is_some())
        {
            rank.lose(number, out);
            rank.expected = None;
        }
    }

    /// Answers show that the rank does not hold what its events say: what it holds is not known any more.
    pub fn disproved(&mut self, number: usize, out: &mut Vec<(usize, FeedAction)>) {
        if let Some(rank) = self.ranks.get_mut(number) {
            rank.counters.disproofs += 1;
            rank.lose(number, out);
        }
    }

    /// The index lacks a block of this rank that it was told of, as its cap has cost it that. What it has is right, and not all:
    /// nothing can be read again, so nothing is cleared either.
    pub fn unknown_parent(&mut self, number: usize) {
        if let Some(rank) = self.ranks.get_mut(number) {
            rank.counters.unknown_parents += 1;
            if rank.completeness == Completeness::Complete {
                rank.completeness = Completeness::Partial;
            }
        }
    }
}

impl DrainedRank {
    /// What happened so far.
    pub fn counters(&self) -> &FeedCounters {
        &self.counters
    }

    /// Blocks that were not indexed, by reason.
    pub fn skipped(&self) -> &Skipped {
        self.cache.skipped()
    }

    /// How much the index can hold.
    pub fn completeness(&self) -> Completeness {
        self.completeness
    }

    /// The number expected next, if any is.
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    fn take(&mut self, number: usize, event: &Event, out: &mut Vec<(usize, FeedAction)>) {
        self.counters.messages += 1;
        match self.expected.replace(event.id.saturating_add(1)) {
            Some(expected) if expected == event.id => {}
            before => {
                if before.is_some_and(|expected| event.id > expected) {
                    self.counters.gaps += 1;
                } else if before.is_some() {
                    self.counters.restarts += 1;
                }
                self.lose(number, out);
                if event.id == 0 {
                    // From its beginning.
                    self.completeness = Completeness::Complete;
                } else {
                    self.counters.lost += 1;
                }
            }
        }
        if let Change::Created { blocks: Some(blocks) } = event.change {
            self.capacity = self.capacity.max(blocks.into());
        }
        let mut events = Vec::new();
        let took = self.cache.take(event.cache, &event.change, &mut events);
        if took.cleared {
            out.push((number, FeedAction::Clear));
            self.counters.cleared += 1;
            if matches!(event.change, Change::Created { .. } | Change::Cleared) {
                self.completeness = Completeness::Complete;
            }
        }
        out.extend(events.into_iter().map(|event| (number, FeedAction::Apply(event))));
        self.counters.unknown_parents += took.orphans as u64;
        self.stored = self.stored.saturating_add(took.stored as u64);
        if took.overflow {
            self.lose(number, out);
        } else if self.completeness == Completeness::Unreplayed
            && self.capacity > 0
            && self.stored >= self.capacity
        {
            self.completeness = Completeness::Partial;
        }
    }

    /// What is held is not known any more.
    fn lose(&mut self, number: usize, out: &mut Vec<(usize, FeedAction)>) {
        self.cache.forget();
        self.completeness = Completeness::Unreplayed;
        self.stored = 0;
        out.push((number, FeedAction::Clear));
    }
}

#[cfg(test)]
mod tests;
