//! What every activation needs for as long as it lives: the engines with their epochs, and the maker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::HostConfig;
use crate::engine::Engines;
use crate::error::HostError;
use crate::maker::Maker;
use crate::optimizer::Optimizer;
use crate::ticker::Ticker;

/// Engines and threads of a host. They end with its last holder.
pub(crate) struct Runtime {
    pub(crate) config: HostConfig,
    pub(crate) maker: Maker,
    pub(crate) optimizer: Optimizer,
    pub(crate) engines: Arc<Engines>,
    last_id: AtomicU64,
    _ticker: Ticker,
}

impl Runtime {
    pub(crate) fn start(config: HostConfig) -> Result<Self, HostError> {
        let setup = |error: std::io::Error| HostError::Setup(format!("start a thread: {error}"));
        let engines = Arc::new(Engines::new(&config)?);
        let maker = Maker::start().map_err(setup)?;
        Ok(Self {
            _ticker: Ticker::start(&engines, maker.inbox()).map_err(setup)?,
            optimizer: Optimizer::start(&engines, &config).map_err(setup)?,
            maker,
            engines,
            config,
            last_id: AtomicU64::new(0),
        })
    }

    /// 1, 2, 3 and so on.
    pub(crate) fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }
}
