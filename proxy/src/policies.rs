//! The policies of the proxy: which there are, and which one decides in each pool.

mod built_in;
mod canary;
mod entry;
mod journal;
mod lane;
mod learners;
mod live;
mod state_dir;
mod store;
mod trials;
mod watch;

pub use built_in::BuiltIn;
pub use canary::{CanaryBy, CanaryShare};
pub use entry::activate_at_start;
pub use journal::{Author, Cause, Journal, Step};
pub use lane::{Change, PolicyParts, PoolPolicies};
pub use learners::Outcome;
pub use state_dir::{KeptActivation, KeptUpload, StateDir, StateError};
pub use store::{PolicyStore, StoreError, Upload};
pub use watch::PolicyFile;

pub use crate::config::Fallback;
