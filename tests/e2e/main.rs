//! End to end: the real binary over loopback, in front of simulated engines that behave or misbehave as told.
//!
//! What counts is what arrived at the engine and what the client got, not what was called in between.

mod harness;
mod smoke;
