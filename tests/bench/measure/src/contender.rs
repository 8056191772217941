//! What is measured side by side.

use std::time::Duration;

use crate::workload::Step;

/// A KV index. What it is given is first brought into its own types, which is not measured.
pub trait Contender {
    /// As in the names of figures.
    fn name(&self) -> &'static str;

    /// Brings the steps' events into its own types.
    fn prepare(&mut self, steps: &[Step]);

    /// Applies what was prepared, to the end: whatever it queues is drained. The CPU time of the threads that did it.
    fn apply(&mut self) -> Duration;

    /// Finishes what it does in its own time, before its bytes are counted.
    fn settle(&mut self) {}

    /// Brings a prompt into its own type.
    fn ask(&mut self, prompt: &[u64]);

    /// Finds the overlaps of that prompt. Measured.
    fn look_up(&mut self);

    /// What it found: leading blocks by rank.
    fn overlaps(&self) -> Vec<u32>;
}
