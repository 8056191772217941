//! What was decided and why, beside the request path: a shadow that decides along, receipts, recordings.
//!
//! A decision that is looked at is copied once, with the table that its policy saw, and handed over a bounded queue to
//! one niced thread. What does not fit into the queue is dropped and counted: nobody waits for it.

mod look;
mod observer;
mod receipts;
mod record;
pub mod recording;
mod shadow;

pub use look::{Decisions, DecisionsParts, Look, Seen};
pub use observer::Observer;
pub use receipts::{DecidedBy, Receipt};
pub use record::{Answer, Chosen, Filtered, Lane, Record, Table, Times, Truth};
pub use shadow::{ShadowFigures, ShadowJob, ShadowTrial};
