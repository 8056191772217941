//! Bounds of the policies' host. The same types in the document and at run time.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::{byte_size, duration};

/// What a policy component may use, and when it is no longer trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyHost {
    /// CPU time one call may take. Then it is cut off and the fallback decides.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub cpu_budget: Duration,
    /// Linear memory of one instance, in bytes.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub memory_bytes_max: usize,
    /// Largest component file, in bytes.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub component_bytes_max: usize,
    /// Components of so many bytes or more are compiled quickly first, and a second time, for speed, in the background.
    #[serde(with = "byte_size")]
    #[schemars(with = "byte_size::Written")]
    pub baseline_bytes_min: usize,
    /// Components kept in memory, the active ones included. An activation beyond it forgets the oldest unused one.
    pub versions_max: NonZeroUsize,
    /// Time between two looks at the policy files that the config names.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub watch_interval: Duration,
    /// When a failing policy is replaced by the last good one.
    pub failures: FailureLimits,
}

impl Default for PolicyHost {
    fn default() -> Self {
        Self {
            cpu_budget: Duration::from_millis(2),
            memory_bytes_max: 64 << 20,
            component_bytes_max: 64 << 20,
            baseline_bytes_min: 4 << 10,
            versions_max: NonZeroUsize::MIN.saturating_add(15),
            watch_interval: Duration::from_secs(2),
            failures: FailureLimits::default(),
        }
    }
}

/// When a policy is stood down: both thresholds reached within the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FailureLimits {
    /// Failed picks within the window.
    pub count: NonZeroU32,
    /// Failed picks per thousand picks of the window.
    pub permille: NonZeroU32,
    /// The window.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub window: Duration,
    /// Time after which the policy is tried again.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub rearm_after: Duration,
    /// After a call that used up its CPU time, and its thread with it, the policy before decides for so long, or the fallback; twice
    /// as long if one failed already within the window, four times if more did.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Written")]
    pub rest: Duration,
}

impl Default for FailureLimits {
    fn default() -> Self {
        Self {
            count: NonZeroU32::MIN.saturating_add(4),
            permille: NonZeroU32::MIN.saturating_add(9),
            window: Duration::from_secs(10),
            rearm_after: Duration::from_secs(60),
            rest: Duration::from_millis(200),
        }
    }
}
