//! The policies of the proxy: which there are, and which one decides in each pool.

mod built_in;
mod lane;
mod store;

pub use built_in::BuiltIn;
pub use lane::{ActivateError, PoolPolicies};
pub use store::{KnownPolicy, PolicyStore, StoreError};

pub use crate::config::Fallback;
