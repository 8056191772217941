//! What each row would cost; a pass per term over whole columns, which the compiler turns into straight loops.

use rankwise_policy::prelude::*;

use crate::Kv;

/// Costs, and what they gave credit for, by row.
pub(crate) struct Scored {
    /// Infinite if the row cannot take the request.
    pub(crate) costs: Costs,
    /// Cached blocks, weighted by tier.
    pub(crate) credit: Vec<f64>,
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
    pub(crate) fn dynamo_costs(&self, request: &Request, ranks: &Ranks) -> Scored {
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
        Scored { costs: costs.into(), credit }
    }

    /// Ours, in tokens. With u the tokens still to compute on a rank, P its prefill backlog and K its KV with this
    /// request, and g its lockstep group, of which every rank waits for the slowest:
    ///
    /// ```text
    /// u    = max(1, prompt_tokens - B * (credit + pending_hit_weight * pending))      (phase decode: 0)
    /// P    = prefill_tokens + u * (1 + running_delay_weight * running)                (phase decode: 0)
    /// K    = B * (active + new)                                                       (phase decode: less B * credit)
    /// cost = (prefill_load_scale * P + K + decode_active_request_weight * B * running
    ///         + group_prefill_weight * max(peak P of g, P) + group_kv_weight * max(peak K of g, K)) * 1000 / weight
    /// ```
    ///
    /// Whoever runs on a rank waits while a prompt is computed there. Without that term requests of one new prompt part
    /// as soon as their first rank is a little busier than another, and each of them computes the prompt again.
    ///
    /// A match no longer than `opening_tokens`, and than half the prompt, counts for nothing. It is what a chat template begins all chats with: they share
    /// nothing else, and would follow one another to the rank that happened to have the first. To compute it once more on
    /// each other rank costs little, and once.
    ///
    /// Nothing counts as cached on a rank whose index is not trusted. A rank without room for the new blocks and the
    /// output costs infinitely much; a request larger than the whole rank fits an empty one.
    pub(crate) fn rankwise_costs(&self, request: &Request, ranks: &Ranks) -> Scored {
        let weights = &self.weights;
        let block = self.block_size;
        let mut credit = self.credit(request, ranks);
        let condition = ranks.column(Column::Condition);
        for (credit, &condition) in credit.iter_mut().zip(condition) {
            *credit = if condition & Condition::UNTRUSTED == 0 { *credit } else { 0.0 };
        }
        let prefills = request.phase != Phase::Decode;
        let prompt = request.fact(Fact::PromptTokens) as f64;
        if prefills {
            drop_openings(&mut credit, f64::from(weights.opening_tokens).min(prompt / 2.0) / block);
        }
        let prefill: Vec<f64> = ranks
            .column(Column::PrefillTokens)
            .iter()
            .zip(&credit)
            .zip(ranks.column(Column::Running))
            .map(|((&booked, &credit), &running)| {
                let delayed = 1.0 + weights.running_delay_weight * f64::from(running);
                let load = f64::from(booked) + (prompt - block * credit).max(1.0) * delayed;
                if prefills { load } else { 0.0 }
            })
            .collect();
        let (active, new) = (ranks.column(Column::ActiveBlocks), ranks.column(Column::NewBlocks));
        let held: Vec<f64> = active
            .iter()
            .zip(new)
            .zip(&credit)
            .map(|((&active, &new), &credit)| {
                let spared = if prefills { 0.0 } else { credit };
                block * (f64::from(active) + f64::from(new) - spared).max(0.0)
            })
            .collect();
        let mut costs: Vec<f64> = prefill
            .iter()
            .zip(&held)
            .map(|(prefill, held)| weights.prefill_load_scale * prefill + held)
            .collect();
        if weights.decode_active_request_weight > 0.0 {
            add(&mut costs, ranks.column(Column::Running), weights.decode_active_request_weight * block);
        }
        if weights.group_prefill_weight > 0.0 && prefills {
            let peaks = ranks.column(Column::GroupPeakPrefill);
            add_peak(&mut costs, &prefill, peaks, 1.0, weights.group_prefill_weight);
        }
        if weights.group_kv_weight > 0.0 {
            add_peak(
                &mut costs,
                &held,
                ranks.column(Column::GroupPeakActive),
                block,
                weights.group_kv_weight,
            );
        }
        for (cost, &weight) in costs.iter_mut().zip(ranks.column(Column::Weight)) {
            *cost *= 1000.0 / f64::from(weight.max(1));
        }
        self.exclude_full(&mut costs, request, ranks);
        Scored { costs: costs.into(), credit }
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
            (weights.pending_hit_weight, Column::PendingOverlap),
        ];
        for (weight, column) in further.into_iter().filter(|(weight, _)| *weight > 0.0) {
            add(&mut credit, ranks.column(column), weight);
        }
        credit
    }

    fn exclude_full(&self, costs: &mut [f64], request: &Request, ranks: &Ranks) {
        let output = match request.phase {
            Phase::Prefill => 0,
            _ => request.fact(Fact::MaxOutputTokens).min(self.weights.output_tokens_max.into()),
        };
        let sequences = request.fact(Fact::Sequences).max(1);
        let output_blocks = (output as f64 / self.block_size).ceil() * sequences as f64;
        let new = ranks.column(Column::NewBlocks);
        let free = ranks.column(Column::FreeBlocks);
        let capacity = ranks.column(Column::CapacityBlocks);
        for (row, cost) in costs.iter_mut().enumerate() {
            let asked = (f64::from(new[row]) + output_blocks).min(f64::from(capacity[row]));
            // Capacity 0 is unknown: nothing is asked.
            *cost = if asked > f64::from(free[row]) { f64::INFINITY } else { *cost };
        }
    }
}

/// Takes the credit from rows that have no more than so many blocks.
fn drop_openings(credit: &mut [f64], blocks: f64) {
    for credit in credit {
        *credit = if *credit > blocks { *credit } else { 0.0 };
    }
}

/// `sums += weight * column`
fn add(sums: &mut [f64], column: &[u32], weight: f64) {
    for (sum, &value) in sums.iter_mut().zip(column) {
        *sum += weight * f64::from(value);
    }
}

/// `costs += weight * max(unit * peaks, own)`
fn add_peak(costs: &mut [f64], own: &[f64], peaks: &[u32], unit: f64, weight: f64) {
    for ((cost, &own), &peak) in costs.iter_mut().zip(own).zip(peaks) {
        *cost += weight * (unit * f64::from(peak)).max(own);
    }
}
