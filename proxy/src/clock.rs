//! The clocks: a monotonic one in the milliseconds that core counts in, and the date for what outlives the process.

use std::sync::OnceLock;
use std::time::Instant;

use rankwise_core::ids::Millis;

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Milliseconds since 1970, for records that outlive the process.
pub fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since the process first asked.
pub fn now() -> Millis {
    let origin = *ORIGIN.get_or_init(Instant::now);
    Millis(u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX))
}
