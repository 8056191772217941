//! Connections to the workers: one pool per request thread, nothing shared, nothing locked.

mod body;
mod fetch;
mod line;
mod pool;

pub use body::UpstreamBody;
pub use fetch::{FetchError, Fetched, KeptOrigin, Origin};
pub use pool::{Checkout, SendError, SendLimits, UpstreamPool, UpstreamTimes};
