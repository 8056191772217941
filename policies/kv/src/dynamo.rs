//! Preset `dynamo`: what each row costs by NVIDIA Dynamo's formula; a pass per term over whole columns. In double precision, so
//! that ties are Dynamo's.

use rankwise_policy::prelude::*;

use crate::Kv;
use crate::settings::Weights;

/// Which columns to ask for.
pub(crate) fn asked(weights: &Weights) -> Vec<Column> {
    let mut columns =
        vec![Column::DeviceOverlap, Column::ActiveBlocks, Column::NewBlocks, Column::PrefillTokens];
    let optional = [
        (weights.host_cache_hit_weight, Column::HostOverlap),
        (weights.disk_cache_hit_weight, Column::DiskOverlap),
        (weights.decode_active_request_weight, Column::Running),
    ];
    columns.extend(optional.into_iter().filter(|(weight, _)| *weight > 0.0).map(|(_, column)| column));
    columns
}

impl Kv {
    /// NVIDIA Dynamo's default cost, in blocks (its `bp/default/scorer.rs`, release 1.6.1):
    ///
    /// ```text
    /// decay   = 1 / (1 + credit_decay * (prefill_tokens - least prefill_tokens) / B / max(1, prompt blocks, rounded up))
    /// credit  = overlap_score_credit * decay * device + host_weight * host + disk_weight * disk
    /// prefill = max(0, (prefill_tokens + prompt_tokens) / B - credit)
    /// cost    = prefill_load_scale * prefill + active + new + decode_active_request_weight * running
    /// ```
    ///
    /// In phase decode no prefill is counted and nothing decays; with a positive overlap_score_credit the cost is
    /// `max(0, active + new - credit) + decode_active_request_weight * running`.
    pub(crate) fn dynamo_costs(&self, request: &Request, ranks: &Ranks) -> Costs {
        let weights = &self.weights;
        let credit = self.credit(request, ranks);
        let (active, new) = (ranks.column(Column::ActiveBlocks), ranks.column(Column::NewBlocks));
        let decode = active.iter().zip(new).map(|(&active, &new)| f64::from(active) + f64::from(new));
        let mut costs: Vec<f64> = if request.phase != Phase::Decode {
            let prompt = request.fact(Fact::PromptTokens) as f64;
            let prefill =
                ranks.column(Column::PrefillTokens).iter().zip(&credit).map(|(&prefill, &credit)| {
                    ((f64::from(prefill) + prompt) / self.block_size - credit).max(0.0)
                });
            prefill
                .zip(decode)
                .map(|(prefill, decode)| weights.prefill_load_scale * prefill + decode)
                .collect()
        } else if weights.overlap_score_credit > 0.0 {
            decode.zip(&credit).map(|(decode, credit)| (decode - credit).max(0.0)).collect()
        } else {
            decode.collect()
        };
        if weights.decode_active_request_weight > 0.0 {
            add(&mut costs, ranks.column(Column::Running), weights.decode_active_request_weight);
        }
        costs.into()
    }

    /// Blocks that need not be computed there, weighted by tier.
    fn credit(&self, request: &Request, ranks: &Ranks) -> Vec<f64> {
        let weights = &self.weights;
        let device = ranks.column(Column::DeviceOverlap);
        let mut credit: Vec<f64> =
            if weights.overlap_score_credit_decay > 0.0 && request.phase != Phase::Decode {
                let prefill = ranks.column(Column::PrefillTokens);
                let least = prefill.iter().copied().min().unwrap_or(0);
                let tokens = request.fact(Fact::PromptTokens) as f64;
                let prompt_blocks = (tokens / self.block_size).ceil().max(1.0);
                let decay = |&prefill: &u32| {
                    let excess = f64::from(prefill - least) / self.block_size / prompt_blocks;
                    1.0 / (1.0 + weights.overlap_score_credit_decay * excess)
                };
                let decayed = prefill.iter().map(|prefill| weights.overlap_score_credit * decay(prefill));
                device.iter().zip(decayed).map(|(&device, credit)| credit * f64::from(device)).collect()
            } else {
                device.iter().map(|&device| weights.overlap_score_credit * f64::from(device)).collect()
            };
        let further = [
            (weights.host_cache_hit_weight, Column::HostOverlap),
            (weights.disk_cache_hit_weight, Column::DiskOverlap),
        ];
        for (weight, column) in further.into_iter().filter(|(weight, _)| *weight > 0.0) {
            add(&mut credit, ranks.column(column), weight);
        }
        credit
    }
}

/// `sums += weight * column`
fn add(sums: &mut [f64], column: &[u32], weight: f64) {
    for (sum, &value) in sums.iter_mut().zip(column) {
        *sum += weight * f64::from(value);
    }
}
