//! kv: send a request where most of its prompt is cached, unless that rank is too busy for it to pay.
//!
//! Preset `dynamo` is NVIDIA Dynamo's default cost and nothing more; preset `rankwise` (the default) builds on it for
//! ranks that step together. Both are a cost per row, and the least one wins.

use rankwise_policy::prelude::*;

mod dynamo;
mod rankwise;
mod settings;
#[cfg(test)]
mod tests;

use self::rankwise::Rates;
use settings::Weights;
pub use settings::{Preset, Settings};

/// The policy.
#[derive(Clone, Debug)]
pub struct Kv {
    weights: Weights,
    /// Tokens per block.
    block_tokens: u32,
    /// The same.
    block_size: f64,
    prefilling: Rates,
    decoding: Rates,
}

impl Policy for Kv {
    type Settings = Settings;

    fn configure(pool: &Pool, settings: Settings) -> Result<Self, String> {
        let (weights, block_tokens) = (settings.weights()?, pool.block_size.max(1));
        let block_size = block_tokens.into();
        let rates = |prefills| Rates::new(&weights, block_size, prefills);
        Ok(Self { weights, block_tokens, block_size, prefilling: rates(true), decoding: rates(false) })
    }

    fn needs(&self) -> Needs {
        let weights = &self.weights;
        let columns = match weights.preset {
            Preset::Rankwise => {
                let mut columns = rankwise::asked(weights);
                columns.push(Column::CachedBlocks);
                columns
            }
            Preset::Dynamo => dynamo::asked(weights),
        };
        Needs::columns(&columns).prompt()
    }

    fn pick(&self, request: &Request, ranks: &Ranks) -> Result<Decision, String> {
        let (temperature, mut draw) = (self.weights.temperature, Draw::new(request.seed));
        let row = match self.weights.preset {
            Preset::Rankwise if temperature == 0.0 => self.rankwise_row(request, ranks, &mut draw),
            _ => {
                let costs = self.score(request, ranks);
                if temperature > 0.0 { costs.softmax(temperature, &mut draw) } else { costs.least(&mut draw) }
            }
        };
        // No row has room for the request: one that does not fit can stall a whole group.
        Ok(row.map_or(Decision::Wait(self.weights.wait_ms), Decision::Rank))
    }
}

impl Scorer for Kv {
    fn score(&self, request: &Request, ranks: &Ranks) -> Costs {
        match self.weights.preset {
            Preset::Rankwise => self.rankwise_costs(request, ranks),
            Preset::Dynamo => self.dynamo_costs(request, ranks),
        }
    }
}

export_policy!(Kv, scorer);
