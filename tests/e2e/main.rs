//! End to end: the real binary over loopback, in front of simulated engines that behave or misbehave as told.
//!
//! What counts is what arrived at the engine and what the client got, not what was called in between.

#![allow(unreachable_pub, reason = "one binary: what its modules share is as public as it gets")]

mod any_fault;
mod bad_input;
mod broken_promises;
mod bursts;
mod check_live;
mod cold;
mod conversations;
mod dead_ranks;
mod demo;
mod disaggregated;
mod discovery;
mod disobedience;
mod drained;
mod dynamo;
mod emptied;
mod engines;
mod facts;
mod faults;
mod feeds;
mod generic;
mod groups;
mod harness;
mod health;
mod kept_responses;
mod kv;
mod lost_worker;
mod native_api;
mod offload;
mod other_ranks;
mod outcomes;
mod pins;
mod policies;
mod prompts;
mod published_load;
mod readiness;
mod room;
mod routing;
mod select;
mod sessions;
mod shutdown;
mod smoke;
mod stale_metrics;
mod strict;
mod tiers;
mod trtllm;
mod unpinned;
mod unreachable;
mod warm;
mod workers;
