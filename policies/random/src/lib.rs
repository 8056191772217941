//! Random: every worker, or every rank, is as likely as the others.

use rankwise_policy::prelude::*;
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// What is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// A worker; its engine chooses the rank, as in NVIDIA Dynamo's random mode.
    #[default]
    Worker,
    /// A rank, pinned strictly.
    Rank,
}

/// The settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What is drawn.
    pub pin: Pin,
}

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct Random {
    pin: Pin,
}

impl Policy for Random {
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
        let mut draw = Draw::new(request.seed);
        Ok(match self.pin {
            Pin::Rank => Decision::Rank(draw.below(ranks.rows())),
            Pin::Worker => {
                let drawn = draw.below(ranks.workers().count() as u32) as usize;
                Decision::Worker(ranks.workers().nth(drawn).ok_or("no worker")?)
            }
        })
    }
}

export_policy!(Random);
