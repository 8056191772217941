//! What is booked where: load by target and by worker, and the bookings it consists of.

mod bits;
mod lag;
mod record;
mod worker;

pub(crate) use bits::Bits;
pub(crate) use lag::EventLag;
pub(crate) use record::{Record, RecordPlace};
pub(crate) use worker::WorkerLedger;

use crate::ids::{BlockSize, Millis, TargetId};

/// A booking's number: later bookings have greater ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BookingId(pub(crate) u64);

/// One target's side of the ledger. Block figures in the target's own blocks.
#[derive(Debug)]
pub(crate) struct TargetLedger {
    pub(crate) id: TargetId,
    pub(crate) block_size: BlockSize,
    /// Bookings made so far, restarts included: what conditional bookings compare.
    pub(crate) epoch: u64,
    pub(crate) prefill_tokens: u64,
    /// Distinct prompt blocks of live bookings.
    pub(crate) shared_blocks: u32,
    /// Blocks of live bookings that nobody else can share.
    pub(crate) private_blocks: u64,
    pub(crate) running: u32,
    /// Long prompts that are booked and not yet computed.
    pub(crate) long_prefills: u32,
    /// Distinct pending blocks.
    pub(crate) pending_blocks: u32,
    pub(crate) confirmations: Confirmations,
    pub(crate) lag: EventLag,
    pub(crate) rate: PrefillRate,
}

impl TargetLedger {
    pub(crate) fn new(id: TargetId, block_size: BlockSize, epoch: u64) -> Self {
        Self {
            id,
            block_size,
            epoch,
            prefill_tokens: 0,
            shared_blocks: 0,
            private_blocks: 0,
            running: 0,
            long_prefills: 0,
            pending_blocks: 0,
            confirmations: Confirmations::default(),
            lag: EventLag::default(),
            rate: PrefillRate::default(),
        }
    }

    pub(crate) fn active_blocks(&self) -> u64 {
        u64::from(self.shared_blocks) + self.private_blocks
    }
}

/// How many pending blocks of a target turned out to be true.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Confirmations {
    pub(crate) confirmed: u64,
    pub(crate) unconfirmed: u64,
    sample_confirmed: u32,
    sample_unconfirmed: u32,
    /// Whether the last full sample was so bad that pending blocks count for nothing here.
    pub(crate) weight_zeroed: bool,
}

impl Confirmations {
    pub(crate) fn confirm(&mut self, sample: u32, permille_max: u32) {
        self.confirmed += 1;
        self.sample_confirmed += 1;
        self.judge(sample, permille_max);
    }

    pub(crate) fn fail(&mut self, sample: u32, permille_max: u32) {
        self.unconfirmed += 1;
        self.sample_unconfirmed += 1;
        self.judge(sample, permille_max);
    }

    fn judge(&mut self, sample: u32, permille_max: u32) {
        let blocks = self.sample_confirmed + self.sample_unconfirmed;
        if blocks >= sample.max(1) {
            self.weight_zeroed =
                u64::from(self.sample_unconfirmed) * 1000 > u64::from(blocks) * u64::from(permille_max);
            self.sample_confirmed = 0;
            self.sample_unconfirmed = 0;
        }
    }
}

/// How fast a target prefills, learned from streamed requests: the backlog at the booking by the time until the
/// first output. Exponentially weighted, an eighth for the newest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PrefillRate {
    microseconds_per_token: Option<u64>,
}

impl PrefillRate {
    pub(crate) fn learn(&mut self, tokens: u64, elapsed_ms: u64) {
        let Some(newest) = (elapsed_ms * 1000).checked_div(tokens) else { return };
        self.microseconds_per_token =
            Some(self.microseconds_per_token.map_or(newest, |known| (known * 7 + newest) / 8));
    }

    /// When so many tokens should be prefilled, if the rate is known.
    pub(crate) fn due(&self, tokens: u64, now: Millis) -> Option<Millis> {
        let each = self.microseconds_per_token?;
        Some(Millis(now.0.saturating_add(tokens.saturating_mul(each).div_ceil(1000))))
    }
}
