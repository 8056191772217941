//! Which workers there are: each has a supervisor that finds out what it is, keeps its feeds running, and notices when
//! it goes, comes back or changes.

mod describe;
mod description;
mod find_worker;
mod frontends;
mod groups;
mod register;
mod roster;
mod sources;
mod status;
mod supervise;
mod supervisors;
mod tokenizer;
mod worker_set;

pub use describe::{DescribeError, ProbeLimits, describe};
pub use description::Description;
pub use find_worker::{FindError, identify};
pub use frontends::{Frontends, Seat};
pub use roster::{Roster, RosterError};
pub use sources::follow;
pub use status::WorkerStatus;
pub use supervisors::Supervisors;
pub use tokenizer::{load as load_tokenizer, log_choice as log_tokenizer};
pub use worker_set::{Source, WorkerSet};
