//! What one row costs: the formula, in blocks. In single precision, which is exact to a token up to 16 million tokens, and to far
//! less than a block in any cost beyond.

use rankwise_policy::prelude::*;
use wide::{bytemuck, f32x4, u32x4};

use super::figures::{Further, NO_WEIGHT, Peaks, Usual};
use crate::Kv;
use crate::settings::Weights;

/// What the formula has of the settings, for requests that prefill or for those that do not: the same in each lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Tokens that a block of each kind spares.
    device: f32x4,
    host: f32x4,
    disk: f32x4,
    pending: f32x4,
    prefills: f32x4,
    running_delay: f32x4,
    /// Blocks for a token.
    spared: f32x4,
    prefill: f32x4,
    prefill_peak: f32x4,
    kv_peak: f32x4,
    running: f32x4,
    /// Whether what a [plain](Further::not_plain) row costs does not take the whole formula: by default, unless credit decays.
    plain: bool,
}

impl Rates {
    pub(crate) fn new(weights: &Weights, block_size: f64, prefills: bool) -> Self {
        let block = block_size as f32;
        let all = |rate: f64| f32x4::splat(rate as f32);
        let if_it_prefills = |rate: f64| if prefills { rate } else { 0.0 };
        let spared = if prefills { 0.0 } else { 1.0 / block_size };
        let prefill_peak = if_it_prefills(weights.group_prefill_weight / block_size);
        let none = [spared, prefill_peak, weights.group_kv_weight, weights.decode_active_request_weight];
        Self {
            device: all(weights.overlap_score_credit) * block,
            host: all(weights.host_cache_hit_weight) * block,
            disk: all(weights.disk_cache_hit_weight) * block,
            pending: all(weights.pending_hit_weight) * block,
            prefills: all(if_it_prefills(1.0)),
            running_delay: all(weights.running_delay_weight),
            spared: all(spared),
            prefill: all(weights.prefill_load_scale / block_size),
            prefill_peak: all(prefill_peak),
            kv_peak: all(weights.group_kv_weight),
            running: all(weights.decode_active_request_weight),
            plain: weights.running_delay_weight == 1.0 && none.iter().all(|&rate| rate == 0.0),
        }
    }
}

/// What the formula has of the settings and the request, the same for all rows.
pub(super) struct Terms<'a> {
    rates: &'a Rates,
    /// Tokens.
    prompt: f32x4,
    opening: f32x4,
    decay: f32,
    least_booked: f32,
    /// Blocks for the answer.
    output: u32x4,
}

impl<'a> Terms<'a> {
    #[inline(always)]
    pub(super) fn new(policy: &'a Kv, request: &Request, ranks: &Ranks) -> Self {
        let prefills = request.phase != Phase::Decode;
        let prompt = figure(request.fact(Fact::PromptTokens)) as i32 as f32;
        let opening = (policy.weights.opening_tokens as f32).min(prompt / 2.0);
        let (decay, least_booked) = decay(policy, request, ranks);
        Self {
            rates: if prefills { &policy.prefilling } else { &policy.decoding },
            prompt: f32x4::splat(prompt),
            opening: f32x4::splat(if prefills { opening } else { -1.0 }),
            decay,
            least_booked,
            output: u32x4::splat(output_blocks(policy, request)),
        }
    }

    /// Whether rows that are plain themselves may be computed as such.
    #[inline(always)]
    pub(super) fn plain(&self) -> bool {
        self.rates.plain && self.decay == 0.0
    }

    /// Tokens of the prompt that each row gets credit for: cached and pending ones, weighted.
    #[inline(always)]
    pub(super) fn credit(&self, usual: &Usual<u32x4>, further: &Further<u32x4>) -> f32x4 {
        let rates = self.rates;
        let faded = (single(usual.booked) - self.least_booked) * self.decay + 1.0;
        let credit = rates.device / faded * single(usual.device)
            + rates.host * single(further.host)
            + rates.disk * single(further.disk)
            + rates.pending * single(further.pending);
        let trusted = (further.condition & u32x4::splat(Condition::UNTRUSTED)).simd_eq(u32x4::ZERO);
        self.beyond_opening(credit & bytemuck::cast::<_, f32x4>(trusted))
    }

    #[inline(always)]
    fn beyond_opening(&self, credit: f32x4) -> f32x4 {
        credit.simd_gt(self.opening) & credit
    }

    /// What each row costs; infinitely much if it has no room.
    #[inline(always)]
    pub(super) fn costs(
        &self,
        usual: &Usual<u32x4>,
        further: &Further<u32x4>,
        peaks: &Peaks<u32x4>,
    ) -> f32x4 {
        let rates = self.rates;
        let credit = self.credit(usual, further);
        let to_compute = (self.prompt - credit).fast_max(f32x4::ONE);
        let running = single(usual.running);
        let delayed = rates.running_delay * running + 1.0;
        let prefill = rates.prefills * (single(usual.booked) + to_compute * delayed);
        let held = (held(usual) - rates.spared * credit).fast_max(f32x4::ZERO);
        let peaks = rates.prefill_peak * single(peaks.prefill).fast_max(prefill)
            + rates.kv_peak * single(peaks.kv).fast_max(held);
        let own = rates.prefill * prefill + held + rates.running * running;
        let weight = f32x4::splat(NO_WEIGHT as f32) / single(further.weight).fast_max(f32x4::ONE);
        self.if_it_fits(usual, (own + peaks) * weight)
    }

    /// The same for rows that are [plain](Further::not_plain), without what makes no difference to them.
    #[inline(always)]
    pub(super) fn plain_costs(&self, usual: &Usual<u32x4>) -> f32x4 {
        let credit = self.beyond_opening(self.rates.device * single(usual.device));
        let to_compute = (self.prompt - credit).fast_max(f32x4::ONE);
        let delayed = single(usual.running) + 1.0;
        let cost = self.rates.prefill * (single(usual.booked) + to_compute * delayed) + held(usual);
        self.if_it_fits(usual, cost)
    }

    #[inline(always)]
    fn if_it_fits(&self, usual: &Usual<u32x4>, cost: f32x4) -> f32x4 {
        // Capacity 0 is unknown: nothing is asked.
        let asked = (usual.new + self.output).min(usual.capacity);
        let fits: f32x4 = bytemuck::cast(usual.free.max(asked).simd_eq(usual.free));
        cost.fast_max(!fits & f32x4::splat(f32::INFINITY))
    }
}

/// Blocks held with this request.
#[inline(always)]
fn held(usual: &Usual<u32x4>) -> f32x4 {
    single(usual.active + usual.new)
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
fn output_blocks(policy: &Kv, request: &Request) -> u32 {
    let output = match request.phase {
        Phase::Prefill => 0,
        _ => figure(request.fact(Fact::MaxOutputTokens)).min(policy.weights.output_tokens_max),
    };
    let sequences = figure(request.fact(Fact::Sequences)).max(1);
    output.div_ceil(policy.block_tokens).saturating_mul(sequences).min(FIGURE_MAX)
}

/// A fact about the request, of 30 bits: two of them add up without overflow.
fn figure(fact: u64) -> u32 {
    fact.min(FIGURE_MAX.into()) as u32
}

const FIGURE_MAX: u32 = (1 << 30) - 1;

/// As signed ones, whose conversion is one instruction: of figures below 2^31.
#[inline(always)]
fn single(figures: u32x4) -> f32x4 {
    f32x4::from_i32x4(bytemuck::cast(figures))
}
