//! The deciding half of rankwise: which dp rank holds what, how busy it is, and what a policy is told of it.
//!
//! No IO, no clock, no randomness of its own: time and seeds are arguments, so everything here is deterministic.

#![forbid(unsafe_code)]

pub mod event;
pub mod hash;
pub mod ids;
pub mod policy;
pub mod target;
