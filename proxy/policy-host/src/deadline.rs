//! How long one call may run, in CPU time of its thread.
//!
//! A call under one tick never gets here and pays nothing. The first tick within a call notes the thread's CPU clock, and
//! takes it that the call has run for half a tick, as it has on average. Later ones end the call when with that the budget is used up:
//! so a call that was preempted is not blamed, and one that runs away is cut after its budget and at most a tick and a half.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Between two looks at a call: one epoch. The timer comes some 60 us late, and three ticks, as a call that begins with one is given, shall be no more than 3 ms.
pub(crate) const TICK: Duration = Duration::from_micros(900);

/// The deadline of the call that is running.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    budget: Duration,
    noted: Option<Duration>,
}

impl Deadline {
    /// A call begins.
    pub(crate) fn start(&mut self, budget: Duration) {
        self.budget = budget;
        self.noted = None;
    }

    /// What the running call may take.
    pub(crate) fn budget(&self) -> Duration {
        self.budget
    }

    /// A tick falls into the call: whether it is over.
    pub(crate) fn is_over(&mut self, cpu: Duration) -> bool {
        match self.noted {
            None => {
                self.noted = Some(cpu);
                false
            }
            Some(noted) => cpu.saturating_sub(noted) + TICK / 2 >= self.budget,
        }
    }
}

/// CPU time that this thread has used.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_preempted_call_is_not_blamed() {
        let mut deadline = Deadline::default();
        deadline.start(2 * MS);
        // A hundred ticks, and the thread hardly ran.
        for tick in 0..100 {
            assert!(!deadline.is_over(Duration::from_micros(tick)));
        }
        assert!(deadline.is_over(2 * MS));
    }

    #[test]
    fn each_call_has_its_own_budget() {
        let mut deadline = Deadline::default();
        for call in 0..3 {
            deadline.start(2 * MS);
            assert!(!deadline.is_over(call * 10 * MS));
            assert!(!deadline.is_over(call * 10 * MS + MS));
            assert!(deadline.is_over(call * 10 * MS + 2 * MS));
        }
    }

    #[test]
    fn the_clock_counts_this_threads_work() {
        let before = thread_cpu();
        let mut spins = 0u64;
        while thread_cpu() < before + MS {
            spins = std::hint::black_box(spins + 1);
        }
        assert!(spins > 0);
    }
}
