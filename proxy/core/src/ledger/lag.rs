//! How late a target's events come.

const SAMPLES: usize = 128;

/// The last event lags of a target: one for each booking that computed blocks, from its first output to the event that
/// confirms the last of them.
#[derive(Debug, Default)]
pub(crate) struct EventLag {
    samples: Vec<u32>,
    next: usize,
}

impl EventLag {
    pub(crate) fn note(&mut self, lag_ms: u64) {
        let lag_ms = u32::try_from(lag_ms).unwrap_or(u32::MAX);
        if self.samples.len() < SAMPLES {
            self.samples.push(lag_ms);
        } else {
            self.samples[self.next] = lag_ms;
            self.next = (self.next + 1) % SAMPLES;
        }
    }

    /// The 99th percentile, nearest rank; `None` before the first sample.
    pub(crate) fn p99_ms(&self) -> Option<u32> {
        let mut samples = self.samples.clone();
        let rank = (samples.len() * 99).div_ceil(100).checked_sub(1)?;
        Some(*samples.select_nth_unstable(rank).1)
    }

    /// How long pending blocks outlive their booking: twice the 99th percentile within the bounds, and the upper one
    /// while nothing is known.
    pub(crate) fn grace_ms(&self, min: u64, max: u64) -> u64 {
        self.p99_ms().map_or(max, |p99| (2 * u64::from(p99)).clamp(min.min(max), max))
    }
}
