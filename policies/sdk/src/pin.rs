//! What a policy names that is blind to ranks: a worker or a rank.

use serde::Deserialize;

use crate::{Column, Decision, Needs, Ranks};

#[cfg(test)]
mod tests;

/// What is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pin {
    /// A worker: its engine chooses the rank, as in NVIDIA Dynamo's blind modes.
    #[default]
    Worker,
    /// A rank, pinned strictly.
    Rank,
}

/// Settings with nothing but `pin: worker|rank`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PinSettings {
    /// What is named; a worker by default.
    pub pin: Pin,
}

impl Pin {
    /// What [`Pin::choose`] needs.
    pub fn needs(self) -> Needs {
        match self {
            Self::Worker => Needs::columns(&[Column::Worker]),
            Self::Rank => Needs::default(),
        }
    }

    /// The worker or rank of this number, of which `choose` is told how many there are.
    pub fn choose(self, ranks: &Ranks, choose: impl FnOnce(u32) -> u32) -> Decision {
        match self {
            Self::Rank => Decision::Rank(choose(ranks.rows())),
            Self::Worker => {
                let chosen = choose(ranks.workers().count() as u32) as usize;
                // Out of range is a mistake of the caller; for a rank the host finds it, so it does for a worker.
                Decision::Worker(ranks.workers().nth(chosen).unwrap_or(u32::MAX))
            }
        }
    }
}
