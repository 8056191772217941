//! Whether a rank may be picked, and with what share of the load: by how it stands with its worker, by what becomes of
//! requests, and by what it has proven.

mod breaker;
mod proof;
mod rank;

pub use breaker::Failure;
pub use proof::Proof;
pub use rank::{HealthReport, HealthSettings, Next, RankHealth};
