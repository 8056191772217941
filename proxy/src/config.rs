//! The configuration: one YAML document, read once, parsed into types that cannot hold a bad value.
//!
//! Two layers. [`mod@file`] is the document as written: every field optional where a safe default exists, unknown fields
//! refused. [`Config`] is what the proxy runs on: defaults filled in, addresses, URLs and durations parsed, names
//! unique. What stands between them is [`load`]; its errors name file, line and column.

mod decisions;
mod error;
pub mod file;
mod host;
mod limits;
mod load;
mod located;
mod named;
pub mod reference;
mod resolve;
mod resolved;
pub mod schema;
mod value;

pub use decisions::{Decisions, Recording};
pub use error::{ConfigError, Diagnostic};
pub use file::Responses;
pub use host::{FailureLimits, PolicyHost};
pub use limits::{
    EventLimits, HealthLimits, IndexLimits, Limits, ListenerLimits, RequestLimits, SelectLimits,
    TokenizeLimits, UpstreamLimits, WaitLimits,
};
pub use load::{FILE_BYTES_MAX, Source, load, parse, parse_worker, parse_workers};
pub use located::{Located, Position};
pub use named::{AccessLog, BuiltInPolicy, EngineKind, Fallback, Lockstep, Role};
pub use resolve::POOLS_MAX;
pub use resolved::{
    Admin, Config, Discovery, EventSource, Events, Listener, PolicyChoice, PolicySource, Pool, PoolLimits,
    Sessions, Shutdown, Status, Worker,
};
pub(crate) use value::parse_duration;
pub use value::{BaseUrl, Digest, EventEndpoint, Secret};

#[cfg(test)]
mod tests;
