//! Simulated time, and what an engine step costs.

/// Microseconds of simulated time since the fleet started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// `self + micros`.
    #[must_use]
    pub fn after(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// `self - earlier`, 0 if `earlier` is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What one rank's share of a step costs. A lockstep group's step takes as long as its slowest rank's.
///
/// # Defaults
/// 8 ms a step, 100 us per token of prefill (10,000 tokens per second and rank), 60 us per decoding sequence: the order of
/// a large mixture-of-experts model on one accelerator per rank. Not measured on any engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Every step, also one that a rank only steps along with, microseconds.
    pub step_us: u64,
    /// Per prompt token computed, nanoseconds.
    pub prefill_token_ns: u64,
    /// Per sequence that decodes one token, nanoseconds.
    pub decode_sequence_ns: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { step_us: 8_000, prefill_token_ns: 100_000, decode_sequence_ns: 60_000 }
    }
}

/// What one rank does in one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepLoad {
    /// Prompt tokens computed.
    pub prefill_tokens: u32,
    /// Sequences that decode one token.
    pub decode_sequences: u32,
}

impl Timing {
    /// Microseconds of a step with this load; at least 1, so that time advances.
    pub fn step(&self, load: StepLoad) -> u64 {
        let work_ns = u64::from(load.prefill_tokens)
            .saturating_mul(self.prefill_token_ns)
            .saturating_add(u64::from(load.decode_sequences).saturating_mul(self.decode_sequence_ns));
        self.step_us.saturating_add(work_ns / 1000).max(1)
    }
}
