//! Preset `rankwise`: Dynamo's terms and those of ranks that step together, in tokens, all of a row in one pass.
//!
//! With u the tokens still to compute on a rank, P its prefill backlog and K its KV with this
//! request, and g its lockstep group, of which every rank waits for the slowest:
//!
//! ```text
//! u    = max(1, prompt_tokens - B * (credit + pending_hit_weight * pending))      (phase decode: 0)
//! P    = prefill_tokens + u * (1 + running_delay_weight * running)                (phase decode: 0)
//! K    = B * (active + new)                                                       (phase decode: less B * credit)
//! cost = (prefill_load_scale * P + K + decode_active_request_weight * B * running
//!         + group_prefill_weight * max(peak P of g, P) + group_kv_weight * max(peak K of g, K)) * 1000 / weight
//! ```
//!
//! Whoever runs on a rank waits while a prompt is computed there. Without that term requests of one new prompt part
//! as soon as their first rank is a little busier than another, and each of them computes the prompt again.
//!
//! A match no longer than `opening_tokens`, and than half the prompt, counts for nothing. It is what a chat template begins all
//! chats with: they share nothing else, and would follow one another to the rank that happened to have the first. To compute it once more on
//! each other rank costs little, and once.
//!
//! Nothing counts as cached on a rank whose index is not trusted. A rank without room for the new blocks and the
//! output costs infinitely much; a request larger than the whole rank fits an empty one.

use rankwise_policy::prelude::*;

use crate::Kv;
use crate::eight::{Eight, ROWS};

/// What each row costs, and what it got credit for.
pub(crate) struct Scored {
    /// Infinite if the row cannot take the request.
    costs: Vec<f32>,
    /// Cached and pending blocks, weighted.
    credit: Vec<f32>,
    least: f32,
}

impl Kv {
    pub(crate) fn rankwise_costs(&self, request: &Request, ranks: &Ranks) -> Scored {
        if (ranks.rows() as usize) < ROWS {
            self.costs_of::<true>(request, ranks)
        } else {
            self.costs_of::<false>(request, ranks)
        }
    }

    /// `FEW`: less than eight rows.
    fn costs_of<const FEW: bool>(&self, request: &Request, ranks: &Ranks) -> Scored {
        let weights = &self.weights;
        let prefills = request.phase != Phase::Decode;
        let (block, prompt) = (self.block_size as f32, request.fact(Fact::PromptTokens) as f32);
        let column = |column| ranks.column(column);
        let device = column(Column::DeviceOverlap);
        // A weight of 0 has no column of its own: any figures do.
        let weighted = |weight: f64, wanted| {
            if weight > 0.0 { (weight as f32, column(wanted)) } else { (0.0, device) }
        };
        let (host_weight, host) = weighted(weights.host_cache_hit_weight, Column::HostOverlap);
        let (disk_weight, disk) = weighted(weights.disk_cache_hit_weight, Column::DiskOverlap);
        let (pending_weight, pending) = weighted(weights.pending_hit_weight, Column::PendingOverlap);
        let group_prefill = if prefills { weights.group_prefill_weight } else { 0.0 };
        let (prefill_peak_weight, prefill_peaks) = weighted(group_prefill, Column::GroupPeakPrefill);
        let (kv_peak_weight, kv_peaks) = weighted(weights.group_kv_weight, Column::GroupPeakActive);
        let (active, new) = (column(Column::ActiveBlocks), column(Column::NewBlocks));
        let (booked, running) = (column(Column::PrefillTokens), column(Column::Running));
        let (condition, weight) = (column(Column::Condition), column(Column::Weight));
        let (free, capacity) = (column(Column::FreeBlocks), column(Column::CapacityBlocks));

        let device_credit = weights.overlap_score_credit as f32;
        let (decay, least_booked) = self.decay(request, booked);
        let opening = (weights.opening_tokens as f32).min(prompt / 2.0) / block;
        let opening = if prefills { opening } else { -1.0 };
        let prefill_scale = if prefills { 1.0 } else { 0.0 };
        let running_delay = weights.running_delay_weight as f32;
        let spared = if prefills { 0.0 } else { 1.0 };
        let load_scale = weights.prefill_load_scale as f32;
        let running_cost = weights.decode_active_request_weight as f32 * block;
        let output = self.output_blocks(request);

        let rows = ranks.rows() as usize;
        let (mut costs, mut credits) = (vec![0.0; rows.max(ROWS)], vec![0.0; rows.max(ROWS)]);
        let mut least = Eight::all(f32::INFINITY);
        for at in (0..rows).step_by(ROWS) {
            // The last eight may be some of those before once more.
            let at = at.min(rows.saturating_sub(ROWS));
            let booked = Eight::of::<FEW>(booked, at);
            let running = Eight::of::<FEW>(running, at);
            let decayed = device_credit / (Eight::all(1.0) + decay * (booked - Eight::all(least_booked)));
            let credit = decayed * Eight::of::<FEW>(device, at)
                + host_weight * Eight::of::<FEW>(host, at)
                + disk_weight * Eight::of::<FEW>(disk, at)
                + pending_weight * Eight::of::<FEW>(pending, at);
            let credit = (credit * Eight::by::<FEW>(condition, at, trusted)).above(opening, 0.0);
            let to_compute = (Eight::all(prompt) - block * credit).max(Eight::all(1.0));
            let delayed = Eight::all(1.0) + running_delay * running;
            let prefill = prefill_scale * (booked + to_compute * delayed);
            let new = Eight::of::<FEW>(new, at);
            let kv = block * (Eight::of::<FEW>(active, at) + new - spared * credit).max(Eight::all(0.0));
            let own = load_scale * prefill + kv + running_cost * running;
            let peaks = prefill_peak_weight * Eight::of::<FEW>(prefill_peaks, at).max(prefill)
                + kv_peak_weight * (block * Eight::of::<FEW>(kv_peaks, at)).max(kv);
            let cost = (own + peaks) * (1000.0 / Eight::of::<FEW>(weight, at).max(Eight::all(1.0)));
            // Capacity 0 is unknown: nothing is asked.
            let asked = (new + Eight::all(output)).min(Eight::of::<FEW>(capacity, at));
            let cost = cost.unless_more(asked, Eight::of::<FEW>(free, at));
            let cost = if FEW { behind_the_end(cost, rows) } else { cost };
            least = least.min(cost);
            costs[at..at + ROWS].copy_from_slice(&cost.0);
            credits[at..at + ROWS].copy_from_slice(&credit.0);
        }
        costs.truncate(rows);
        Scored { costs, credit: credits, least: least.least() }
    }

    /// How fast credit decays by the tokens booked beyond the least of all rows, and that least.
    fn decay(&self, request: &Request, booked: &[u32]) -> (f32, f32) {
        let weight = self.weights.overlap_score_credit_decay;
        if weight <= 0.0 || request.phase == Phase::Decode {
            return (0.0, 0.0);
        }
        let prompt_blocks = (request.fact(Fact::PromptTokens) as f64 / self.block_size).ceil().max(1.0);
        let least = booked.iter().copied().min().unwrap_or(0);
        ((weight / self.block_size / prompt_blocks) as f32, least as f32)
    }

    /// Blocks that the answer may take.
    fn output_blocks(&self, request: &Request) -> f32 {
        let output = match request.phase {
            Phase::Prefill => 0,
            _ => request.fact(Fact::MaxOutputTokens).min(self.weights.output_tokens_max.into()),
        };
        let sequences = request.fact(Fact::Sequences).max(1);
        ((output as f64 / self.block_size).ceil() * sequences as f64) as f32
    }
}

/// 0 where the index is not trusted, else 1.
#[inline(always)]
fn trusted(condition: u32) -> f32 {
    1.0 - (condition / Condition::UNTRUSTED % 2) as i32 as f32
}

/// Infinite where there is no row.
fn behind_the_end(mut cost: Eight, rows: usize) -> Eight {
    cost.0[rows..].fill(f32::INFINITY);
    cost
}

impl Scored {
    /// The costs, for a draw by their odds.
    pub(crate) fn into_costs(self) -> Costs {
        self.costs.into_iter().map(f64::from).collect::<Vec<_>>().into()
    }

    /// The least cost; none if no row has a finite one. Rows within one block of it are tied: fewest running, then most of this
    /// prompt cached, then, of two drawn at random, the one with fewer blocks in its cache.
    ///
    /// What else a rank has cached must not attract: prompts that share nothing would follow one another to one rank. Nor may
    /// it decide alone: a rank that never fills (small, or its events are off) would draw them all. Two are drawn, which may be
    /// the same one, so it gets less than twice its share and not all of it, even if it is one of two.
    pub(crate) fn least_within(&self, block: f64, ranks: &Ranks, draw: &mut Draw) -> Option<u32> {
        if !self.least.is_finite() {
            return None;
        }
        let limit = self.least + block as f32;
        let is_close = |cost: f32| cost < limit || cost <= self.least;
        let mut close = Vec::new();
        for (chunk, costs) in self.costs.chunks(ROWS).enumerate() {
            // Most have none.
            let any = match costs.first_chunk::<ROWS>() {
                Some(costs) => Eight(*costs).any_up_to(limit),
                None => true,
            };
            if any {
                let rows = (chunk * ROWS..).zip(costs).filter(|(_, cost)| is_close(**cost));
                close.extend(rows.map(|(row, _)| row as u32));
            }
        }
        if let [row] = close.as_slice() {
            return Some(*row);
        }
        let (running, cached) = (ranks.column(Column::Running), ranks.column(Column::CachedBlocks));
        let tied = Candidates::from(close).least(|row| running[row]).least(|row| -self.credit[row]);
        let (first, second) = (tied.any(draw)?, tied.any(draw)?);
        Some(if cached[second as usize] < cached[first as usize] { second } else { first })
    }
}
