//! What happened to a pool's policy: which step, when, by whom and why. The last ones are kept.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::clock;

/// Steps that a pool remembers.
const STEPS_MAX: usize = 100;
/// Bytes of who.
const WHO_BYTES_MAX: usize = 128;
/// Bytes of why.
const REASON_BYTES_MAX: usize = 512;

/// Who had something done, and why, as they say themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Author {
    /// A name, an address, a pipeline.
    pub who: Option<String>,
    /// The reason.
    pub reason: Option<String>,
}

impl Author {
    /// Within bounds and printable.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(who: Option<String>, reason: Option<String>) -> Result<Self, String> {
        let check = |what, text: &Option<String>, bytes_max| match text {
            Some(text) if text.len() > bytes_max => Err(format!("`{what}` is longer than {bytes_max} bytes")),
            Some(text) if text.chars().any(char::is_control) => {
                Err(format!("`{what}` has control characters"))
            }
            _ => Ok(()),
        };
        check("who", &who, WHO_BYTES_MAX)?;
        check("reason", &reason, REASON_BYTES_MAX)?;
        Ok(Self { who, reason })
    }
}

/// What made a step happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The config, at the start.
    Config,
    /// What `state_dir` kept, at the start.
    Kept,
    /// New content of a file that the config names.
    File,
    /// An activation over the admin API.
    Admin,
    /// A rollback over the admin API.
    Rollback,
    /// Too many failures: out of service.
    Failures,
    /// Out of service for long enough: tried again.
    Rearmed,
    /// Configured anew for the workers' block size.
    BlockSize,
    /// A canary began.
    Canary,
    /// A shadow began.
    Shadow,
    /// The canary became the active policy.
    Promoted,
    /// A trial was ended over the admin API.
    Dropped,
}

impl Cause {
    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Kept => "kept",
            Self::File => "file",
            Self::Admin => "admin",
            Self::Rollback => "rollback",
            Self::Failures => "failures",
            Self::Rearmed => "rearmed",
            Self::BlockSize => "block_size",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
            Self::Promoted => "promoted",
            Self::Dropped => "dropped",
        }
    }
}

/// One step.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// When, ms since 1970.
    pub at_unix_ms: u64,
    /// What made it happen.
    pub cause: Cause,
    /// Where: `active`, `canary` or `shadow`.
    pub lane: &'static str,
    /// The policy that it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What decides in the active lane from then on: `chosen`, `last_good` or `fallback`.
    pub serving: &'static str,
    /// By whom and why.
    #[serde(flatten)]
    pub author: Author,
    /// What went wrong, if something did. A step that was refused changed nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The last steps of a pool.
#[derive(Debug, Default)]
pub struct Journal(Mutex<VecDeque<Step>>);

impl Journal {
    /// Adds one, with the time it is now.
    pub(super) fn add(&self, mut step: Step) {
        step.at_unix_ms = clock::unix_ms();
        let mut steps = self.0.lock();
        if steps.len() == STEPS_MAX {
            steps.pop_back();
        }
        steps.push_front(step);
    }

    /// The last ones, the newest first.
    pub fn steps(&self) -> Vec<Step> {
        self.0.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_is_bounded_and_printable() {
        assert!(Author::new(Some("ci".into()), Some("fewer spills".into())).is_ok());
        assert_eq!(Author::new(Some("x".repeat(129)), None), Err("`who` is longer than 128 bytes".into()));
        assert_eq!(Author::new(None, Some("a\nb".into())), Err("`reason` has control characters".into()));
    }

    #[test]
    fn the_oldest_step_goes_first() {
        let journal = Journal::default();
        for number in 0..STEPS_MAX + 1 {
            journal.add(Step {
                at_unix_ms: 0,
                cause: Cause::Admin,
                lane: "active",
                policy: Some(number.to_string()),
                serving: "chosen",
                author: Author::default(),
                error: None,
            });
        }
        let steps = journal.steps();
        assert_eq!(steps.len(), STEPS_MAX);
        assert_eq!(steps[0].policy.as_deref(), Some("100"));
        assert!(steps[0].at_unix_ms > 0);
    }
}
