//! Prefix hash with bounded load: requests whose prompts begin alike go to the same rank, as long as it has room; then
//! to the next in the prefix's own order of preference. It knows nothing of what is cached, so it works with engines
//! that publish no KV events, and every replica of the proxy decides alike.

use rankwise_policy::prelude::*;
use serde::Deserialize;

#[cfg(test)]
mod tests;

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A rank runs at most so many times its fair share of the requests in flight; 1.25 by default, at least 1.
    pub load_factor: f64,
    /// A rank that runs fewer requests than this has room in any case; 2 by default.
    pub running_min: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { load_factor: 1.25, running_min: 2 }
    }
}

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct PrefixHash {
    settings: Settings,
}

/// Beyond it a bound bounds nothing.
const LOAD_FACTOR_MAX: u32 = 1_000_000;

impl Policy for PrefixHash {
    type Settings = Settings;

    fn configure(_pool: &Pool, settings: Settings) -> Result<Self, String> {
        if finite("load_factor", settings.load_factor, LOAD_FACTOR_MAX)? < 1.0 {
            return Err("load_factor: below 1 not every request would have a rank".to_owned());
        }
        Ok(Self { settings })
    }

    fn needs(&self) -> Needs {
        Needs::columns(&[Column::TargetKey, Column::Running, Column::Weight]).prompt()
    }

    fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String> {
        let running = ranks.column(Column::Running);
        let target_key = ranks.column(Column::TargetKey);
        let Settings { load_factor, running_min } = self.settings;
        let bound = LoadBound::new(load_factor, running_min, running, ranks.column(Column::Weight));
        let with_room = Candidates::all(ranks).prefer(|row| bound.has_room(row));
        let preferred = match request.fact(Fact::PrefixKey) {
            // The prompt is not known: nothing to hash.
            0 => with_room.least(|row| running[row]),
            key => with_room.least(|row| !rendezvous(key, target_key[row])),
        };
        let picked = preferred.any(&mut Draw::new(request.seed));
        picked.map(Decision::Rank).ok_or_else(|| "no rows".to_owned())
    }
}

export_policy!(PrefixHash);
