//! Bounds and budgets of the host.

use std::time::Duration;

/// Bounds and budgets. `HostConfig::default()` suits a proxy of a few pools on a few threads.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// CPU time that a call of `pick` may take, measured from the first epoch tick (0.9 ms) that falls into it, before which it is
    /// taken to have run for half a tick. Default 2 ms.
    pub cpu_budget: Duration,
    /// CPU time for instantiating, for `configure`, and for an instance's first pick, each. Off the request path.
    /// Default 1 s: an embedded JavaScript engine takes 10 ms.
    pub configure_cpu_budget: Duration,
    /// Linear memory of one instance, all its memories together. Default 64 MiB: JavaScript and Python need more than
    /// 16.
    pub memory_bytes_max: usize,
    /// Elements of one table. Default 65,536.
    pub table_elements_max: usize,
    /// The largest component that is looked at. Default 32 MiB.
    pub component_bytes_max: usize,
    /// Instances alive at a time, over all policies: pools x (active, canary, shadow, previous) x (threads + spares),
    /// and some more for those that are being replaced. An activation beyond that is refused. Each reserves 8 GiB of
    /// address space, not of memory. Default 256.
    pub instances_max: u32,
    /// Spare instances that an activation keeps ready, for those that trap. Default 2.
    pub spares: usize,
    /// A request's thread that finds no instance ready makes one itself if that takes at most this much CPU time, as
    /// measured when the policy was activated; otherwise the pick fails until one is there. Default 1 ms.
    pub inline_cost_max: Duration,
    /// Instances that one request thread holds: pools x (active, canary, shadow), and a previous one. Default 32.
    pub thread_instances_max: usize,
    /// Components of so many bytes or more begin with what a quick compiler makes of them, while a better one works in the
    /// background. Default 1 MiB: below, compiling takes well under a second.
    pub baseline_bytes_min: usize,
    /// What is added to the nice value of the thread that compiles. Default 10.
    pub compile_nice: i32,
    /// Names of policies whose versions are remembered. Default 256.
    pub names_max: usize,
    /// When a policy is taken out of service.
    pub failures: FailureThresholds,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            cpu_budget: Duration::from_millis(2),
            configure_cpu_budget: Duration::from_secs(1),
            memory_bytes_max: 64 << 20,
            table_elements_max: 1 << 16,
            component_bytes_max: 32 << 20,
            instances_max: 256,
            spares: 2,
            inline_cost_max: Duration::from_millis(1),
            thread_instances_max: 32,
            baseline_bytes_min: 1 << 20,
            compile_nice: 10,
            names_max: 256,
            failures: FailureThresholds::default(),
        }
    }
}

/// When a policy is taken out of service: at least `failures` and at least `permille` of its picks within `window_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureThresholds {
    /// Failures in the window. Default 5.
    pub failures: u32,
    /// Failures per thousand picks in the window. Default 10.
    pub permille: u32,
    /// Length of the window, ms. Default 10,000.
    pub window_ms: u64,
    /// After so many ms out of service it is tried again. Default 60,000.
    pub rearm_ms: u64,
    /// After a call that used up its CPU time it is not asked for so many ms; twice as long if one failed already within the
    /// window, four times if more did. 0: it is asked. Default 200.
    pub rest_ms: u64,
}

impl Default for FailureThresholds {
    fn default() -> Self {
        Self { failures: 5, permille: 10, window_ms: 10_000, rearm_ms: 60_000, rest_ms: 200 }
    }
}
