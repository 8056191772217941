//! What the engines tell by themselves: KV events and load, per rank.

mod claims;
mod cold;
mod drain;
mod events;
mod load;
mod position;
mod promises;
mod replay;
mod subscribe;

pub use claims::DrainClaims;
pub use cold::ColdRank;
pub use drain::{DrainFeed, DrainedTarget, run_drain};
pub use events::{EventFeed, EventSource, run};
pub use load::{LastHeard, LoadFeed, run_load};
pub use position::FeedPosition;
pub use promises::{PromiseSettings, Promises};
pub(crate) use subscribe::subscribe;

/// The model name under which block hashes are rooted. One for all: a pool's workers serve one base model, whatever
/// they call it, and adapters are told apart by their own name.
pub const NAMESPACE_MODEL: &str = "";
