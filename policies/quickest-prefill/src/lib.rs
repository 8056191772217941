//! Quickest prefill: the rank whose first token should come soonest, by how fast each rank turned out to compute prompts. The
//! example of a policy that learns.

use std::collections::BTreeMap;

use rankwise_policy::prelude::*;

#[cfg(test)]
mod tests;

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct QuickestPrefill {
    /// Tokens per block.
    block_size: f64,
}

/// How much of a new measurement goes into what is known.
const NEW: f64 = 0.2;
/// Fewer tokens than these tell more of the engine's step than of its speed.
const TOKENS_MIN: u64 = 256;

impl Policy for QuickestPrefill {
    type Settings = NoSettings;

    fn configure(pool: &Pool, _settings: NoSettings) -> Result<Self, String> {
        Ok(Self { block_size: pool.block_size.into() })
    }

    fn needs(&self) -> Needs {
        Needs::columns(&[Column::Learned, Column::PrefillTokens, Column::DeviceOverlap, Column::Running])
            .prompt()
    }

    fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String> {
        let row = self.score(request, ranks).least(&mut Draw::new(request.seed));
        row.map(Decision::Rank).ok_or_else(|| "no row has a cost".to_owned())
    }
}

impl Scorer for QuickestPrefill {
    /// Seconds until the first token: what is booked there and what of the prompt is not cached there, at the rank's speed in
    /// tokens per second. A rank of which nothing is known yet counts as twice as quick as the quickest, so that it is tried.
    fn score(&self, request: &Request, ranks: &Ranks) -> Costs {
        let speeds = ranks.column(Column::Learned);
        let unknown = 2.0 * f64::from(speeds.iter().copied().max().unwrap_or(0).max(1));
        let (booked, cached) = (ranks.column(Column::PrefillTokens), ranks.column(Column::DeviceOverlap));
        let running = ranks.column(Column::Running);
        let prompt = request.fact(Fact::PromptTokens) as f64;
        Costs::zero(ranks).add_by(|row| {
            let speed = if speeds[row] == 0 { unknown } else { f64::from(speeds[row]) };
            let own = (prompt - self.block_size * f64::from(cached[row])).max(1.0);
            // Between equal ones the one with fewer requests, by a token each.
            (f64::from(booked[row]) + own + f64::from(running[row])) / speed
        })
    }
}

impl Learner for QuickestPrefill {
    /// Tokens per second by target key.
    type Memory = BTreeMap<u32, f64>;

    fn learn(&self, memory: &mut Self::Memory, targets: &[u32], outcomes: &[Outcome]) -> Vec<u32> {
        for outcome in outcomes {
            let Some(&target) = targets.get(outcome.target) else { continue };
            let computed =
                outcome.prefill_tokens + outcome.prompt_tokens.saturating_sub(outcome.cached_tokens);
            if outcome.first_token_us == 0 || computed < TOKENS_MIN {
                continue;
            }
            let speed = computed as f64 * 1e6 / outcome.first_token_us as f64;
            memory.entry(target).and_modify(|known| *known += NEW * (speed - *known)).or_insert(speed);
        }
        // Those that are gone shall not be remembered for ever.
        memory.retain(|target, _| targets.contains(target));
        targets
            .iter()
            .map(|target| memory.get(target).map_or(0, |speed| speed.round().max(1.0) as u32))
            .collect()
    }
}

export_policy!(QuickestPrefill, scorer, learner);
