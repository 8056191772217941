//! What one row costs: the formula, in blocks. In single precision, which is exact to a token up to 16 million tokens, and to far
//! less than a block in any cost beyond.

use rankwise_policy::prelude::*;

use super::figures::{NO_WEIGHT, Row, Usual};
use crate::Kv;
use crate::settings::Weights;

/// What the formula has of the settings, for requests that prefill or for those that do not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    /// Tokens that a block of each kind spares.
    device: f32,
    host: f32,
    disk: f32,
    pending: f32,
    prefills: f32,
    running_delay: f32,
    /// Blocks for a token.
    spared: f32,
    prefill: f32,
    prefill_peak: f32,
    kv_peak: f32,
    running: f32,
    /// Whether what a [plain](Row::not_plain) row costs does not take the whole formula: by default, unless credit decays.
    plain: bool,
}

impl Rates {
    pub(crate) fn new(weights: &Weights, block_size: f64, prefills: bool) -> Self {
        let block = block_size as f32;
        let if_it_prefills = |weight: f32| if prefills { weight } else { 0.0 };
        let rates = Self {
            device: weights.overlap_score_credit as f32 * block,
            host: weights.host_cache_hit_weight as f32 * block,
            disk: weights.disk_cache_hit_weight as f32 * block,
            pending: weights.pending_hit_weight as f32 * block,
            prefills: if_it_prefills(1.0),
            running_delay: weights.running_delay_weight as f32,
            spared: if prefills { 0.0 } else { 1.0 / block },
            prefill: weights.prefill_load_scale as f32 / block,
            prefill_peak: if_it_prefills(weights.group_prefill_weight as f32 / block),
            kv_peak: weights.group_kv_weight as f32,
            running: weights.decode_active_request_weight as f32,
            plain: false,
        };
        let none = [rates.spared, rates.prefill_peak, rates.kv_peak, rates.running];
        let plain = rates.running_delay == 1.0 && none.iter().all(|&rate| rate == 0.0);
        Self { plain, ..rates }
    }
}

/// What the formula has of the settings and the request, the same for all rows.
pub(super) struct Terms<'a> {
    rates: &'a Rates,
    /// Tokens.
    prompt: f32,
    opening: f32,
    decay: f32,
    least_booked: f32,
    /// Blocks for the answer.
    output: i32,
}

impl<'a> Terms<'a> {
    pub(super) fn new(policy: &'a Kv, request: &Request, ranks: &Ranks) -> Self {
        let prefills = request.phase != Phase::Decode;
        let prompt = figure(request.fact(Fact::PromptTokens)) as f32;
        let opening = (policy.weights.opening_tokens as f32).min(prompt / 2.0);
        let (decay, least_booked) = decay(policy, request, ranks);
        Self {
            rates: if prefills { &policy.prefilling } else { &policy.decoding },
            prompt,
            opening: if prefills { opening } else { -1.0 },
            decay,
            least_booked,
            output: output_blocks(policy, request),
        }
    }

    /// Whether rows that are plain themselves may be computed as such.
    pub(super) fn plain(&self) -> bool {
        self.rates.plain && self.decay == 0.0
    }

    /// Tokens of the prompt that the row gets credit for: cached and pending ones, weighted.
    #[inline(always)]
    pub(super) fn credit(&self, Row { usual, further }: &Row) -> f32 {
        let rates = self.rates;
        let faded = 1.0 + self.decay * (single(usual.booked) - self.least_booked);
        let credit = rates.device / faded * single(usual.device)
            + rates.host * single(further.host)
            + rates.disk * single(further.disk)
            + rates.pending * single(further.pending);
        self.beyond_opening(if further.condition & Condition::UNTRUSTED != 0 { 0.0 } else { credit })
    }

    #[inline(always)]
    fn beyond_opening(&self, credit: f32) -> f32 {
        if credit > self.opening { credit } else { 0.0 }
    }

    /// What the row costs; infinitely much if it has no room.
    #[inline(always)]
    pub(super) fn cost(&self, row: &Row) -> f32 {
        let (rates, Row { usual, further }) = (self.rates, row);
        let credit = self.credit(row);
        let to_compute = greater(self.prompt - credit, 1.0);
        let running = single(usual.running);
        let delayed = 1.0 + rates.running_delay * running;
        let prefill = rates.prefills * (single(usual.booked) + to_compute * delayed);
        let held = greater(held(usual) - rates.spared * credit, 0.0);
        let peaks = rates.prefill_peak * greater(single(further.prefill_peak), prefill)
            + rates.kv_peak * greater(single(further.kv_peak), held);
        let own = rates.prefill * prefill + held + rates.running * running;
        self.if_it_fits(usual, (own + peaks) * (NO_WEIGHT as f32 / greater(single(further.weight), 1.0)))
    }

    /// The same for a row that is [plain](Further::not_plain), without what makes no difference to it.
    #[inline(always)]
    pub(super) fn plain_cost(&self, usual: &Usual<u32>) -> f32 {
        let credit = self.beyond_opening(self.rates.device * single(usual.device));
        let to_compute = greater(self.prompt - credit, 1.0);
        let delayed = (whole(usual.running) + 1) as f32;
        let cost = self.rates.prefill * (single(usual.booked) + to_compute * delayed) + held(usual);
        self.if_it_fits(usual, cost)
    }

    #[inline(always)]
    fn if_it_fits(&self, usual: &Usual<u32>, cost: f32) -> f32 {
        // Capacity 0 is unknown: nothing is asked.
        let asked = (whole(usual.new) + self.output).min(whole(usual.capacity));
        if asked > whole(usual.free) { f32::INFINITY } else { cost }
    }
}

/// Blocks held with this request.
#[inline(always)]
fn held(usual: &Usual<u32>) -> f32 {
    (whole(usual.active) + whole(usual.new)) as f32
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
    let each = figure((figure(output) as f64 / policy.block_size).ceil() as u64);
    let all = i64::from(each) * i64::from(figure(request.fact(Fact::Sequences)).max(1));
    all.min(FIGURE_MAX.into()) as i32
}

/// A fact about the request: signed and of 31 bits, which multiply without a call and convert in one instruction.
fn figure(fact: u64) -> i32 {
    fact.min(FIGURE_MAX.into()) as i32
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
