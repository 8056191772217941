//! rankwise: an edge proxy for LLM inference that routes each request to a dp rank with a WebAssembly policy.
//!
//! This crate is the binary and its composition root. A request goes `listen` -> `request` -> `upstream`; beside it
//! `discovery` says which workers there are, `health` which of their ranks may be picked, as `proving` finds out, `feeds` keep what is known of their caches,
//! `decisions` keeps what was decided and why, and `admin` and `status` let people in. What decides lives in the crates
//! below: core, prompt, engines, policy-host.

#![forbid(unsafe_code)]

pub mod admin;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
mod control;
pub mod decisions;
pub mod demo;
pub mod discovery;
pub mod error;
pub mod feeds;
pub mod file_watch;
pub mod health;
pub mod listen;
pub mod logging;
pub mod metrics;
pub mod parity;
pub mod policies;
pub mod pool;
pub mod prompts;
pub mod proving;
pub mod replay;
pub mod request;
pub mod responses;
pub mod run;
pub mod sessions;
pub mod signals;
pub mod simulate;
pub mod status;
pub mod upstream;
pub mod warm;
pub mod workers;
