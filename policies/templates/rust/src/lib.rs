//! {{name}}: where most of the prompt is cached, unless too much is running there.

use rankwise_policy::prelude::*;
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// What the pool's `policy.settings` may say.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What a running request costs, in blocks to compute.
    pub running_cost: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { running_cost: 8.0 }
    }
}

/// The policy.
pub struct Warmest {
    settings: Settings,
}

impl Policy for Warmest {
    type Settings = Settings;

    fn configure(_pool: &Pool, settings: Settings) -> Result<Self, String> {
        finite("running_cost", settings.running_cost, 1_000_000)?;
        Ok(Self { settings })
    }

    fn needs(&self) -> Needs {
        Needs::columns(&[Column::DeviceOverlap, Column::Running]).prompt()
    }

    fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String> {
        let cost = Costs::zero(ranks)
            .add(-1.0, ranks.column(Column::DeviceOverlap))
            .add(self.settings.running_cost, ranks.column(Column::Running));
        let row = cost.least(&mut Draw::new(request.seed));
        Ok(row.map_or(Decision::Wait(50), Decision::Rank))
    }
}

export_policy!(Warmest);
