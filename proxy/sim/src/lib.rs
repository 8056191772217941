//! A simulated fleet of inference engines with attention data parallelism.
//!
//! `model` is pure: KV blocks, scheduling and timing, with time as an argument. `wire` puts it behind real sockets
//! in an engine's own words: HTTP with server-sent events, and KV events over ZMQ. The demo, the replay tools and the
//! tests stand on it.
//!
//! What it does not simulate: the words of an answer mean nothing, sampling parameters other than the token limit are
//! ignored, and there is one KV cache group with full attention.

#![forbid(unsafe_code)]

pub mod model;
pub mod wire;

mod error;
#[cfg(test)]
mod msgpack;
mod spec;

pub use error::SimError;
pub use model::core::RankStats;
pub use model::pool::{CachedBlock, Tier};
pub use model::time::{Micros, Timing};
pub use spec::{EngineWire, EventLayout, FleetSpec, TrtllmServer};
pub use wire::arrivals::{Arrival, Served};
pub use wire::faults::Fault;
pub use wire::fleet::{Fleet, WorkerHandle};
