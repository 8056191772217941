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
    block_size: f64,
    prefilling: Rates,
    decoding: Rates,
}

impl Policy for Kv {
    type Settings = Settings;

    fn configure(pool: &Pool, settings: Settings) -> Result<Self, String> {
        let (weights, block_size) = (settings.weights()?, pool.block_size.max(1).into());
        let rates = |prefills| Rates::new(&weights, block_size, prefills);
        Ok(Self { weights, block_size, prefilling: rates(true), decoding: rates(false) })
    }

    fn needs(&self) -> Needs {
        let weights = &self.weights;
        let mut columns =
            vec![Column::DeviceOverlap, Column::ActiveBlocks, Column::NewBlocks, Column::PrefillTokens];
        let rankwise = weights.preset == Preset::Rankwise;
        let optional = [
            (weights.host_cache_hit_weight > 0.0, Column::HostOverlap),
            (weights.disk_cache_hit_weight > 0.0, Column::DiskOverlap),
            (weights.pending_hit_weight > 0.0, Column::PendingOverlap),
            (weights.group_prefill_weight > 0.0, Column::GroupPeakPrefill),
            (weights.group_kv_weight > 0.0, Column::GroupPeakActive),
            (rankwise || weights.decode_active_request_weight > 0.0, Column::Running),
            (rankwise, Column::Weight),
            (rankwise, Column::Condition),
            (rankwise, Column::FreeBlocks),
            (rankwise, Column::CapacityBlocks),
            (rankwise, Column::CachedBlocks),
        ];
        columns.extend(optional.into_iter().filter(|(needed, _)| *needed).map(|(_, column)| column));
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
