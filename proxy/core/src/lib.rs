//! The deciding half of rankwise: which dp rank holds what, how busy it is, and what a policy is told of it.
//!
//! No IO, no clock, no randomness of its own: time and seeds are arguments, so everything here is deterministic.

#![deny(unsafe_code)]

pub mod event;
pub mod fallback;
pub mod generations;
pub mod hash;
pub mod ids;
pub mod image;
pub mod index;
mod ledger;
pub mod policy;
pub mod request;
pub mod sessions;
pub mod snapshot;
pub mod state;
pub mod target;
mod topology;
