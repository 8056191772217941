//! Round robin, exact and without state: the request's sequence number says whose turn it is.

use rankwise_policy::prelude::*;
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// What takes turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// Workers; the engine chooses the rank, as in NVIDIA Dynamo's round-robin mode.
    #[default]
    Worker,
    /// Ranks, each pinned strictly.
    Rank,
}

/// The settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What takes turns.
    pub pin: Pin,
}

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct RoundRobin {
    pin: Pin,
}

impl Policy for RoundRobin {
    type Settings = Settings;

    fn configure(_pool: &Pool, settings: Settings) -> Result<Self, String> {
        Ok(Self { pin: settings.pin })
    }

    fn needs(&self) -> Needs {
        match self.pin {
            Pin::Worker => Needs::columns(&[Column::Worker]),
            Pin::Rank => Needs::default(),
        }
    }

    fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String> {
        let turn = |of: u64| request.sequence % of;
        Ok(match self.pin {
            Pin::Rank => Decision::Rank(turn(ranks.rows().into()) as u32),
            Pin::Worker => {
                let turn = turn(ranks.workers().count() as u64) as usize;
                Decision::Worker(ranks.workers().nth(turn).ok_or("no worker")?)
            }
        })
    }
}

export_policy!(RoundRobin);
