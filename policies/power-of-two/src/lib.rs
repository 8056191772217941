//! Power of two choices: of two ranks drawn at random the one that is less busy. Nearly as even as the least loaded of
//! all, without everybody following the same figure to the same rank.

use rankwise_policy::prelude::*;
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Ranks drawn; 2 by default, at least 1.
    pub choices: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { choices: 2 }
    }
}

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct PowerOfTwo {
    choices: u32,
}

impl Policy for PowerOfTwo {
    type Settings = Settings;

    fn configure(_pool: &Pool, settings: Settings) -> Result<Self, String> {
        if settings.choices == 0 {
            return Err("choices: must be at least 1".to_owned());
        }
        Ok(Self { choices: settings.choices })
    }

    fn needs(&self) -> Needs {
        Needs::columns(&[Column::Running, Column::PrefillTokens, Column::Weight])
    }

    fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String> {
        let running = ranks.column(Column::Running);
        let prefill = ranks.column(Column::PrefillTokens);
        let weight = ranks.column(Column::Weight);
        let per_weight = |load: u32, row: usize| f64::from(load) / f64::from(weight[row].max(1));
        // With the new request, so that of two idle ranks the heavier one takes it.
        let load =
            |row: usize| (per_weight(running[row].saturating_add(1), row), per_weight(prefill[row], row));
        let picked = Candidates::all(ranks).best_of(self.choices, &mut Draw::new(request.seed), load);
        picked.map(Decision::Rank).ok_or_else(|| "no rows".to_owned())
    }
}

export_policy!(PowerOfTwo);
