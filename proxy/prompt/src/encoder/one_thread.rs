//! Keeps fastokens from starting a thread per core.
//!
//! It sizes one pool per process at its first use, by an environment variable (which a running process cannot set safely) or by
//! the processors that the calling thread may use. A proxy encodes many prompts at once on threads of its own, so that first use is
//! made on a thread that may use one processor only: then there is no pool.

/// Runs `work` on a short-lived thread that is allowed one processor. `None` if it panicked or no thread could be had. Where
/// affinity cannot be set, `work` runs all the same.
pub(super) fn run<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("tokenizer-load".to_owned())
            .spawn_scoped(scope, || {
                narrow();
                work()
            })
            .ok()?
            .join()
            .ok()
    })
}

#[cfg(target_os = "linux")]
fn narrow() {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let Some(first) = (0..CpuSet::MAX_CPU).find(|processor| allowed.is_set(*processor)) else { return };
    let mut one = CpuSet::new();
    one.set(first);
    if let Err(error) = sched_setaffinity(None, &one) {
        tracing::debug!(%error, "fastokens may start a thread per core");
    }
}

#[cfg(not(target_os = "linux"))]
fn narrow() {}
