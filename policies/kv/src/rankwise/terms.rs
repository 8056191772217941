//! What one row costs: the formula, in blocks. In single precision, which is exact to a token up to 16 million tokens, and to far
//! less than a block in any cost beyond.

use rankwise_policy::prelude::*;

use super::figures::{NO_WEIGHT, Row};
use crate::Kv;

/// What the formula has of the settings and the request, the same for all rows.
pub(super) struct Terms {
    prompt: f32,
    /// Tokens that a block of each kind spares.
    device: f32,
    host: f32,
    disk: f32,
    pending: f32,
    decay: f32,
    least_booked: f32,
    /// Tokens.
    opening: f32,
    prefills: f32,
    running_delay: f32,
    /// Blocks for a token.
    spared: f32,
    prefill: f32,
    prefill_peak: f32,
    kv_peak: f32,
    running: f32,
    /// Blocks for the answer.
    output: i32,
}

impl Terms {
    pub(super) fn new(policy: &Kv, request: &Request, ranks: &Ranks) -> Self {
        let weights = &policy.weights;
        let prefills = request.phase != Phase::Decode;
        let (block, prompt) = (policy.block_size as f32, request.fact(Fact::PromptTokens) as f32);
        let opening = (weights.opening_tokens as f32).min(prompt / 2.0);
        let (decay, least_booked) = decay(policy, request, ranks);
        let if_it_prefills = |weight: f32| if prefills { weight } else { 0.0 };
        Self {
            prompt,
            device: weights.overlap_score_credit as f32 * block,
            host: weights.host_cache_hit_weight as f32 * block,
            disk: weights.disk_cache_hit_weight as f32 * block,
            pending: weights.pending_hit_weight as f32 * block,
            decay,
            least_booked,
            opening: if prefills { opening } else { -1.0 },
            prefills: if_it_prefills(1.0),
            running_delay: weights.running_delay_weight as f32,
            spared: if prefills { 0.0 } else { 1.0 / block },
            prefill: weights.prefill_load_scale as f32 / block,
            prefill_peak: if_it_prefills(weights.group_prefill_weight as f32 / block),
            kv_peak: weights.group_kv_weight as f32,
            running: weights.decode_active_request_weight as f32,
            output: output_blocks(policy, request),
        }
    }

    /// Whether rows that are plain themselves may be computed as such: by default, but in phase decode.
    pub(super) fn plain(&self) -> bool {
        let none = [self.decay, self.spared, self.prefill_peak, self.kv_peak, self.running];
        self.running_delay == 1.0 && none.iter().all(|&weight| weight == 0.0)
    }

    /// Tokens of the prompt that the row gets credit for: cached and pending ones, weighted.
    #[inline(always)]
    pub(super) fn credit<const PLAIN: bool>(&self, row: &Row) -> f32 {
        let credit = if PLAIN {
            self.device * single(row.device)
        } else {
            let faded = 1.0 + self.decay * (single(row.booked) - self.least_booked);
            let credit = self.device / faded * single(row.device)
                + self.host * single(row.host)
                + self.disk * single(row.disk)
                + self.pending * single(row.pending);
            if row.condition & Condition::UNTRUSTED != 0 { 0.0 } else { credit }
        };
        if credit > self.opening { credit } else { 0.0 }
    }

    /// What the row costs; infinitely much if it has no room. `PLAIN` leaves out what makes no difference to a row that
    /// [is](Row::not_plain), and comes to the same.
    #[inline(always)]
    pub(super) fn cost<const PLAIN: bool>(&self, row: &Row) -> f32 {
        let credit = self.credit::<PLAIN>(row);
        let to_compute = greater(self.prompt - credit, 1.0);
        let held = (whole(row.active) + whole(row.new)) as f32;
        let cost = if PLAIN {
            let delayed = (whole(row.running) + 1) as f32;
            self.prefill * (single(row.booked) + to_compute * delayed) + held
        } else {
            let running = single(row.running);
            let delayed = 1.0 + self.running_delay * running;
            let prefill = self.prefills * (single(row.booked) + to_compute * delayed);
            let held = greater(held - self.spared * credit, 0.0);
            let peaks = self.prefill_peak * greater(single(row.prefill_peak), prefill)
                + self.kv_peak * greater(single(row.kv_peak), held);
            let own = self.prefill * prefill + held + self.running * running;
            (own + peaks) * (NO_WEIGHT as f32 / greater(single(row.weight), 1.0))
        };
        // Capacity 0 is unknown: nothing is asked.
        let asked = (whole(row.new) + self.output).min(whole(row.capacity));
        if asked > whole(row.free) { f32::INFINITY } else { cost }
    }
}

/// How fast credit fades by the tokens booked beyond the least of all rows, and that least.
fn decay(policy: &Kv, request: &Request, ranks: &Ranks) -> (f32, f32) {
    let weight = policy.weights.overlap_score_credit_decay;
    if weight <= 0.0 || request.phase == Phase::Decode {
        return (0.0, 0.0);
    }
    let prompt_blocks = (request.fact(Fact::PromptTokens) as f64 / policy.block_size).ceil().max(1.0);
    let least = ranks.column(Column::PrefillTokens).iter().copied().min().unwrap_or(0);
    ((weight / policy.block_size / prompt_blocks) as f32, least as f32)
}

/// Blocks that the answer may take.
fn output_blocks(policy: &Kv, request: &Request) -> i32 {
    let output = match request.phase {
        Phase::Prefill => 0,
        _ => request.fact(Fact::MaxOutputTokens).min(policy.weights.output_tokens_max.into()),
    };
    let each = (output as f64 / policy.block_size).ceil() as u64;
    each.saturating_mul(request.fact(Fact::Sequences).max(1)).min(FIGURE_MAX.into()) as i32
}

/// More is no figure but "unknown". The sum of two is no overflow.
const FIGURE_MAX: u32 = (1 << 30) - 1;

// Sums of whole figures, and comparisons, cost one instruction everywhere, and four in WebAssembly if a host makes every NaN of
// single precision the same; signed conversion is one, unsigned is many.

#[inline(always)]
fn whole(figure: u32) -> i32 {
    figure.min(FIGURE_MAX) as i32
}

#[inline(always)]
fn single(figure: u32) -> f32 {
    whole(figure) as f32
}

/// As a comparison: `f32::max` has to look after NaN.
#[inline(always)]
fn greater(left: f32, right: f32) -> f32 {
    if left > right { left } else { right }
}
