//! The wire from outside: a plain HTTP client and real ZMQ sockets.

mod client;
mod drained;
mod events;
mod faults;
mod http;
mod sleep;
mod transfer;

use std::time::Duration;

use crate::{Fleet, FleetSpec, Timing};

/// Bounds every wait of these tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// Steps of about a millisecond of wall time.
fn quick() -> FleetSpec {
    FleetSpec {
        workers: 1,
        ranks: 2,
        blocks_per_rank: 65,
        block_size: 4,
        timing: Timing { step_us: 1_000, prefill_token_ns: 1_000, decode_sequence_ns: 1_000 },
        ..FleetSpec::default()
    }
}

async fn fleet(spec: FleetSpec) -> Fleet {
    Fleet::start(spec).await.unwrap()
}

/// Waits for a condition.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
