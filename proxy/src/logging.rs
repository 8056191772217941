//! Where log lines go: people read stderr, the access log is JSON beside them.

use tracing_subscriber::filter::{EnvFilter, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// The target of access log lines.
pub const ACCESS: &str = "rankwise::access";

/// Sends log lines to stderr. `RUST_LOG` says which; without it, `default`. Called once; a second call changes nothing.
pub fn start(default: LevelFilter) {
    let filter = EnvFilter::builder().with_default_directive(default.into()).from_env_lossy();
    let people = fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_filter(filter)
        .with_filter(filter_fn(|line| line.target() != ACCESS));
    let access = fmt::layer()
        .json()
        .flatten_event(true)
        .with_writer(std::io::stderr)
        .with_level(false)
        .with_target(false)
        .with_filter(filter_fn(|line| line.target() == ACCESS));
    // Already set, as in a test that starts several proxies: then that one serves.
    let _ = tracing_subscriber::registry().with(people).with(access).try_init();
}
