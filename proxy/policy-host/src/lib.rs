//! Runs routing policies: WebAssembly components of the world `rankwise:policy/policy@0.1.x`.
//!
//! The way of a policy: [`PolicyHost::compile`] (is it a component, does it fit, compile it),
//! [`PolicyHost::activate`] (configure it for a pool, try it on a snapshot, make instances),
//! [`PolicyLane::activate`] or [`PolicySlot::publish`] (from now on every decision uses it),
//! [`ThreadPolicies::pick`] (one plain synchronous call on the request's thread).
//!
//! A policy imports nothing and is a pure function, so any of its instances may answer and one that trapped is thrown
//! away. It is held to a budget of CPU time per call, to a memory cap, and to answers that the table allows; whatever
//! goes wrong is a [`PolicyFailure`], for which the caller has a fallback.
//!
//! Compiling and activating block, for milliseconds (a small Rust policy) or a second or two (an embedded JavaScript engine,
//! which a quick compiler takes first and a good one, in the background, once more): call them on a thread of their own.

#![forbid(unsafe_code)]

mod activation;
mod answer;
mod bindings;
mod catalogue;
mod check;
mod code;
mod compile;
mod config;
mod deadline;
mod engine;
mod error;
mod failure;
mod host;
mod instance;
mod lane;
mod learner;
mod limits;
mod maker;
mod needs;
mod optimizer;
mod runtime;
mod slot;
mod smoke;
mod thread_policies;
mod ticker;
mod version;
mod window;

pub use activation::{Activation, PoolInfo};
pub use compile::Compiled;
pub use config::{FailureThresholds, HostConfig};
pub use engine::Tier;
pub use error::{HostError, Refusal};
pub use failure::{FailureKind, PolicyFailure};
pub use host::PolicyHost;
pub use lane::{Lane, PolicyLane, Serving};
pub use learner::{Learner, OUTCOME_FIELDS};
pub use needs::is_credential;
pub use slot::{Current, PolicySlot};
pub use smoke::{Smoke, SmokeTable};
pub use thread_policies::ThreadPolicies;
pub use version::{PolicyVersion, digest};
pub use window::FailureWindow;
