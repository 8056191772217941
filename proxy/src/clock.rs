//! The proxy's monotonic clock, in the milliseconds that core counts in.

use std::sync::OnceLock;
use std::time::Instant;

use rankwise_core::ids::Millis;

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Milliseconds since the process first asked.
pub fn now() -> Millis {
    let origin = *ORIGIN.get_or_init(Instant::now);
    Millis(u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX))
}
