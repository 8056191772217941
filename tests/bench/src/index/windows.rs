//! How long a writer at full speed keeps a reader waiting: the longest of some look-ups beside it, and the same without it, in turns.
//!
//! Windows in which a thread lost its CPU or a CPU was interrupted are left out. What the hypervisor takes is not seen, so it is
//! in both.

use std::time::{Duration, Instant};

use rankwise_core::ids::BlockSize;
use rankwise_core::request::Prompt;
use rankwise_core::snapshot::Overlaps;
use rankwise_measure::cpu::{Thread, interrupts};
use rankwise_measure::samples::Samples;

use super::fleet::Fleet;
use super::writer::Writer;

/// Look-ups in one window: some tens of microseconds with few ranks.
const WINDOW: usize = 32;

/// Windows before the writer begins or stops.
const TURN: usize = 32;

/// Windows of either kind, disturbed or not.
pub(super) const WINDOWS: usize = 25_600;

/// The longest look-up of each window.
#[derive(Default)]
pub(super) struct Windows {
    pub(super) alone: Samples,
    pub(super) beside: Samples,
}

impl Windows {
    /// Looks prompts up, with the writer and without.
    pub(super) fn measured(fleet: &Fleet, writer: &Writer<'_>) -> anyhow::Result<Self> {
        let mut all = Self::default();
        let reader = Thread::current();
        let preemptions = || anyhow::Ok((reader.preemptions()?, writer.thread().preemptions()?));
        let mut windows = fleet.prompts.chunks_exact(WINDOW).cycle();
        for turn in 0..2 * WINDOWS / TURN {
            let is_beside = turn % 2 == 1;
            writer.write(is_beside);
            for window in windows.by_ref().take(TURN) {
                let before = (preemptions()?, interrupts()?);
                let longest = longest_look_up(fleet, window);
                let interrupts = interrupts()?;
                if (preemptions()?, interrupts) == before {
                    let kind = if is_beside { &mut all.beside } else { &mut all.alone };
                    kind.push(longest);
                }
            }
        }
        writer.write(true);
        Ok(all)
    }

    /// By how many us the windows' longest is longer with the writer, at that share of them.
    pub(super) fn added_us(&self, share: f64) -> f64 {
        (self.beside.quantile(share) - self.alone.quantile(share)) / 1e3
    }
}

fn longest_look_up(fleet: &Fleet, prompts: &[Prompt]) -> Duration {
    let block_size = BlockSize(fleet.spec.block_size);
    let mut found = Overlaps::default();
    let times = prompts.iter().map(|prompt| {
        let start = Instant::now();
        fleet.state.overlaps(prompt, block_size, &mut found);
        start.elapsed()
    });
    times.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_writer_adds_is_a_difference() {
        let mut all = Windows::default();
        for micros in 1..=1001 {
            all.alone.push(Duration::from_micros(micros));
            all.beside.push(Duration::from_micros(2 * micros));
        }
        assert_eq!(all.added_us(0.99), 991.0);
    }
}
