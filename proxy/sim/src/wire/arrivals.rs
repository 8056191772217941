//! What arrived at a worker and what became of it: bounded logs for tests and the demo.

use std::collections::VecDeque;

use bytes::Bytes;
use http::{HeaderMap, Method};
use parking_lot::Mutex;

use crate::model::time::Micros;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its number at this worker, from 0, without gaps.
    pub number: u64,
    /// The worker.
    pub worker: usize,
    /// The rank that serves it; `None` if it never came to an engine.
    pub rank: Option<u32>,
    /// When, in simulated time.
    pub at: Micros,
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// All headers, repeated ones too.
    pub headers: HeaderMap,
    /// Its body, cut off at the spec's bound.
    pub body: Bytes,
    /// Bytes of the whole body.
    pub body_bytes: usize,
}

impl Arrival {
    /// Every value of the rank header, as text; bytes that are not UTF-8 replaced.
    pub fn rank_headers(&self) -> Vec<String> {
        let values = self.headers.get_all(super::rank_header::NAME);
        values.iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }
}

/// One sequence that an engine completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The arrival that asked for it.
    pub arrival: u64,
    /// The rank that served it.
    pub rank: u32,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Those of them that the cache held.
    pub cached_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// Time from arrival to first token, simulated.
    pub first_token_us: u64,
    /// Time from arrival to last token, simulated, as the answer's task saw it.
    pub total_us: u64,
}

/// The last entries of a log.
#[derive(Debug)]
pub(crate) struct Log<T> {
    entries: Mutex<VecDeque<T>>,
    capacity: usize,
}

impl<T: Clone> Log<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { entries: Mutex::default(), capacity }
    }

    pub(crate) fn push(&self, entry: T) {
        let mut entries = self.entries.lock();
        while entries.len() >= self.capacity {
            if entries.pop_front().is_none() {
                return;
            }
        }
        entries.push_back(entry);
    }

    pub(crate) fn all(&self) -> Vec<T> {
        self.entries.lock().iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.entries.lock().clear();
    }
}

impl Log<Arrival> {
    pub(crate) fn set_rank(&self, number: u64, rank: u32) {
        // Arrivals are logged in order of their numbers up to races of a few: look from the end.
        if let Some(arrival) = self.entries.lock().iter_mut().rev().find(|arrival| arrival.number == number) {
            arrival.rank = Some(rank);
        }
    }
}
