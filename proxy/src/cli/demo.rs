//! `rankwise demo`.

use std::net::SocketAddr;
use std::num::NonZeroU64;

use clap::Args;

/// Route to a simulated fleet and compare round-robin with kv, live
///
/// Two simulated workers of four dp ranks each stand behind the real proxy, over real sockets. Multi-turn conversations are
/// routed first by round-robin; then the caches are cleared and the same conversations are routed by kv. Times are the
/// simulation's.
#[derive(Debug, Args)]
pub(super) struct DemoOptions {
    /// Listen for clients here
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,
    /// Serve /healthz, /readyz and /metrics here
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9090")]
    pub(super) status: SocketAddr,
    /// Serve the admin API here
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9091")]
    pub(super) admin: SocketAddr,
    /// Stop after so many requests per policy, print the table and exit [default: go on until Ctrl-C]
    #[arg(long, value_name = "N")]
    pub(super) requests: Option<NonZeroU64>,
}
