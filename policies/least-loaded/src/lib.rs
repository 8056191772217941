//! Least loaded: fewest running requests, then fewest tokens to prefill, then fewest active blocks.

use rankwise_policy::prelude::*;

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct LeastLoaded;

impl Policy for LeastLoaded {
    type Settings = NoSettings;

    fn configure(_pool: &Pool, _settings: NoSettings) -> Result<Self, String> {
        Ok(Self)
    }

    fn needs(&self) -> Needs {
        Needs::columns(&[Column::Running, Column::PrefillTokens, Column::ActiveBlocks])
    }

    fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String> {
        let running = ranks.column(Column::Running);
        let prefill = ranks.column(Column::PrefillTokens);
        let active = ranks.column(Column::ActiveBlocks);
        let load = |row: usize| (running[row], prefill[row], active[row]);
        Ok(Decision::Rank(ranks.argmin(load, request.seed)))
    }
}

export_policy!(LeastLoaded);
