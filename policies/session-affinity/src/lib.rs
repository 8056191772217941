//! Session affinity with spill-over: a session stays on the rank that served it last, where its conversation is cached,
//! unless that rank runs more than its share; then it moves, and stays where it moved to.

use rankwise_policy::prelude::*;
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A session leaves a rank that would run more than so many times its fair share of the requests in flight; 1.5 by
    /// default, at least 1.
    pub spill_factor: f64,
    /// No session leaves a rank that runs fewer requests than this; 4 by default.
    pub spill_running_min: u32,
    /// Where a session begins.
    pub first: First,
}

/// Where a session begins, or goes on when it has to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum First {
    /// On the rank with the fewest requests running, then the fewest tokens to prefill.
    #[default]
    LeastLoaded,
    /// By a consistent hash of its key among the ranks with room: replicas of the proxy that share no table agree.
    Hash,
}

impl Default for Settings {
    fn default() -> Self {
        Self { spill_factor: 1.5, spill_running_min: 4, first: First::LeastLoaded }
    }
}

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct SessionAffinity {
    settings: Settings,
}

/// Beyond it no session ever leaves.
const SPILL_FACTOR_MAX: u32 = 1_000_000;

impl Policy for SessionAffinity {
    type Settings = Settings;

    fn configure(_pool: &Pool, settings: Settings) -> Result<Self, String> {
        if finite("spill_factor", settings.spill_factor, SPILL_FACTOR_MAX)? < 1.0 {
            return Err("spill_factor: below 1 no rank could keep its share".to_owned());
        }
        Ok(Self { settings })
    }

    fn needs(&self) -> Needs {
        Needs::columns(&[Column::TargetKey, Column::Running, Column::PrefillTokens, Column::Weight])
    }

    fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String> {
        let running = ranks.column(Column::Running);
        let prefill = ranks.column(Column::PrefillTokens);
        let target_key = ranks.column(Column::TargetKey);
        let Settings { spill_factor, spill_running_min, first } = self.settings;
        let bound = LoadBound::new(spill_factor, spill_running_min, running, ranks.column(Column::Weight));

        let home = request.session_row().filter(|&row| row < ranks.rows() && bound.has_room(row as usize));
        if let Some(row) = home {
            return Ok(Decision::Rank(row));
        }
        let with_room = Candidates::all(ranks).prefer(|row| bound.has_room(row));
        let preferred = match (first, request.fact(Fact::SessionKey)) {
            (First::Hash, key) if key != 0 => with_room.least(|row| !rendezvous(key, target_key[row])),
            _ => with_room.least(|row| (running[row], prefill[row])),
        };
        let picked = preferred.any(&mut Draw::new(request.seed));
        picked.map(Decision::Rank).ok_or_else(|| "no rows".to_owned())
    }
}

export_policy!(SessionAffinity);
