//! CPU time, which a busy machine stretches less than wall time.

use std::time::Duration;

use anyhow::Context;
use rustix::thread::Pid;
use rustix::time::{ClockId, clock_gettime};

/// CPU time of the calling thread so far.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap_or_default(), time.tv_nsec.try_into().unwrap_or_default())
}

/// A thread of this process, to be looked at from another one.
#[derive(Clone, Copy, Debug)]
pub struct Thread(Pid);

impl Thread {
    /// The calling thread.
    pub fn current() -> Self {
        Self(rustix::thread::gettid())
    }

    /// CPU time so far, exact while the thread sleeps.
    pub fn cpu(self) -> anyhow::Result<Duration> {
        let path = format!("/proc/self/task/{}/schedstat", self.0);
        let stat = std::fs::read_to_string(&path).context(path)?;
        let nanos = stat.split(' ').next().context("empty schedstat")?.parse()?;
        Ok(Duration::from_nanos(nanos))
    }

    /// CPU time once the thread has gone to sleep: when nothing was added between two looks.
    pub fn cpu_when_idle(self) -> anyhow::Result<Duration> {
        let mut last = self.cpu()?;
        loop {
            std::thread::park_timeout(Duration::from_micros(200));
            let now = self.cpu()?;
            if now == last {
                return Ok(now);
            }
            last = now;
        }
    }

    /// How often it was taken off its CPU against its will.
    pub fn preemptions(self) -> anyhow::Result<u64> {
        let path = format!("/proc/self/task/{}/status", self.0);
        let status = std::fs::read_to_string(&path).context(path)?;
        let count = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
        Ok(count.context("no nonvoluntary_ctxt_switches")?.trim().parse()?)
    }
}

/// Interrupts of all CPUs so far, the timer's included.
pub fn interrupts() -> anyhow::Result<u64> {
    const PATH: &str = "/proc/interrupts";
    let all = std::fs::read_to_string(PATH).context(PATH)?;
    // After its name a line has a number for each CPU, and then maybe what it is.
    let counts = |line: &str| {
        let words = line.split_whitespace().skip(1);
        words.map_while(|word| word.parse::<u64>().ok()).sum::<u64>()
    };
    Ok(all.lines().skip(1).map(counts).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_go_on() {
        let before = interrupts().unwrap();
        while interrupts().unwrap() == before {}
    }

    #[test]
    fn another_thread_sees_what_a_thread_has_used() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::spawn(move || {
            let mut spins = 0u64;
            while thread_cpu() < Duration::from_millis(5) {
                spins = std::hint::black_box(spins + 1);
            }
            sender.send(Thread::current()).unwrap();
            // Sleeps until the other side is through.
            let _ = wait.recv();
        });
        let thread = receiver.recv().unwrap();
        assert!(thread.cpu_when_idle().unwrap() >= Duration::from_millis(5));
        thread.preemptions().unwrap();
        drop(done);
        worker.join().unwrap();
    }
}
