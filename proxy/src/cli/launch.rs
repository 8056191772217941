//! Where the command line hands over to the proxy, the demo and the simulator.

use anyhow::{Result, bail};
use tokio::runtime::Runtime;
use tracing_subscriber::filter::LevelFilter;

use super::{DemoOptions, SimOptions, out};
use crate::config::Config;
use crate::{check, demo, logging, run, simulate};

/// Where feeds, discovery and admin run; requests have threads of their own.
fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Waits for one answer.
pub(super) fn wait_for<T>(answer: impl Future<Output = T>) -> Result<T> {
    Ok(runtime()?.block_on(answer))
}

/// Serves until a signal.
pub(super) fn serve(config: Config) -> Result<()> {
    logging::start(LevelFilter::INFO);
    runtime()?.block_on(run::serve(&config))
}

/// Serves a simulated fleet and compares two policies on it.
pub(super) fn demo(options: DemoOptions) -> Result<()> {
    logging::start(LevelFilter::ERROR);
    runtime()?.block_on(demo::run(demo::Options {
        listen: options.listen,
        status: options.status,
        admin: options.admin,
        requests: options.requests.map(|requests| usize::try_from(requests.get()).unwrap_or(usize::MAX)),
    }))
}

/// Runs a simulated fleet until a signal.
pub(super) fn sim(options: &SimOptions) -> Result<()> {
    options.check()?;
    logging::start(LevelFilter::INFO);
    runtime()?.block_on(simulate::run(options.spec(), &options.faults))
}

/// Asks every engine of the config what it can tell and do.
pub(super) fn check_live(config: &Config) -> Result<()> {
    let found = runtime()?.block_on(check::live(config));
    for line in found.iter().flat_map(check::Found::lines).chain(check::unasked(config)) {
        out::line(line)?;
    }
    if found.iter().all(check::Found::is_fine) {
        Ok(())
    } else {
        bail!("not every worker can be routed to by its cache")
    }
}
