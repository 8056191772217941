//! The simulated engines, without clock, sockets or randomness.

pub mod chain;
pub mod core;
pub mod group;
pub mod host;
pub mod pool;
pub mod sequence;
pub mod time;

mod content;
mod free_list;

#[cfg(test)]
mod tests;
