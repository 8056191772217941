//! How long a writer's step keeps a reader waiting who comes as it begins.
//!
//! The same events are applied again and again, in laps, and of each batch the median of all laps is taken: what the machine
//! takes from a thread comes at another batch each time.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use rankwise_core::event::CacheEvent;
use rankwise_core::ids::{BlockSize, Millis, TargetId};
use rankwise_core::snapshot::Overlaps;
use rankwise_measure::samples::Samples;

use super::fleet::Fleet;
use super::writer::circle;

const LAPS: usize = 31;

/// What the writer is at: numbers of batches, which are counted from 1 on over all laps.
#[derive(Default)]
struct Progress {
    wanted: AtomicUsize,
    begun: AtomicUsize,
    done: AtomicUsize,
}

/// What the first step of a batch adds to a look-up.
pub(super) struct Pauses {
    /// For each batch, in the median of the laps.
    pub(super) usual: Samples,
    /// In each lap.
    pub(super) each: Samples,
}

pub(super) fn pauses(fleet: &Fleet) -> Pauses {
    let circle = circle(fleet);
    let progress = Progress::default();
    let beside: Vec<Samples> = std::thread::scope(|scope| {
        scope.spawn(|| write(fleet, &circle, &progress));
        laps(
            fleet,
            circle.len(),
            |number| {
                progress.wanted.store(number, SeqCst);
                wait_for(&progress.begun, number);
                // As long as it takes the writer to lock.
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_nanos(100) {}
            },
            |number| wait_for(&progress.done, number),
        )
    });
    let alone = laps(fleet, circle.len(), |_| {}, |_| {});
    added(&beside, &alone)
}

/// What look-ups beside the writer take longer than alone, by batch.
fn added(beside: &[Samples], alone: &[Samples]) -> Pauses {
    let mut pauses = Pauses { usual: Samples::default(), each: Samples::default() };
    for (beside, alone) in beside.iter().zip(alone) {
        let more = |time: f64| Duration::from_nanos((time - alone.p50()).max(0.0) as u64);
        pauses.usual.push(more(beside.p50()));
        beside.iter().for_each(|time| pauses.each.push(more(time)));
    }
    pauses
}

fn write(fleet: &Fleet, circle: &[(TargetId, Vec<CacheEvent>)], progress: &Progress) {
    for number in 1..=LAPS * circle.len() {
        wait_for(&progress.wanted, number);
        let (target, events) = &circle[(number - 1) % circle.len()];
        progress.begun.store(number, SeqCst);
        fleet.state.apply_batch(*target, events, Millis(0));
        progress.done.store(number, SeqCst);
    }
}

fn wait_for(number: &AtomicUsize, wanted: usize) {
    while number.load(SeqCst) != wanted {
        spin_loop();
    }
}

/// How long a look-up takes at each batch, once a lap.
fn laps(fleet: &Fleet, batches: usize, before: impl Fn(usize), after: impl Fn(usize)) -> Vec<Samples> {
    let block_size = BlockSize(fleet.spec.block_size);
    let mut found = Overlaps::default();
    let mut times = vec![Samples::default(); batches];
    for lap in 0..LAPS {
        let prompts = fleet.prompts.iter().cycle();
        for ((batch, times), prompt) in times.iter_mut().enumerate().zip(prompts) {
            let number = lap * batches + batch + 1;
            before(number);
            let start = Instant::now();
            fleet.state.overlaps(prompt, block_size, &mut found);
            times.push(start.elapsed());
            after(number);
        }
    }
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_in_few_laps_is_not_usual() {
        let samples = |times: [u64; 3]| {
            let mut samples = Samples::default();
            times.into_iter().for_each(|time| samples.push(Duration::from_nanos(time)));
            samples
        };
        let pauses = added(&[samples([50, 9000, 40])], &[samples([10, 20, 3000])]);
        assert_eq!((pauses.usual.max(), pauses.usual.len()), (30.0, 1));
        assert_eq!((pauses.each.max(), pauses.each.len()), (8980.0, 3));
    }
}
