//! Where the command line hands over to the proxy, the demo and the simulator.

use anyhow::{Result, bail};

use super::{DemoOptions, SimOptions};
use crate::config::Config;

/// Serves until a signal.
pub(super) fn serve(config: Config) -> Result<()> {
    bail!("serve: not built yet ({} pools)", config.pools.len())
}

/// Serves a simulated fleet and compares two policies on it.
pub(super) fn demo(options: DemoOptions) -> Result<()> {
    bail!("demo: not built yet ({})", options.listen)
}

/// Runs a simulated fleet until a signal.
pub(super) fn sim(options: SimOptions) -> Result<()> {
    bail!("sim: not built yet ({} workers)", options.workers)
}

/// Asks every engine of the config what it can tell and do.
pub(super) fn check_live(config: &Config) -> Result<()> {
    bail!("check --live: not built yet ({} pools)", config.pools.len())
}
