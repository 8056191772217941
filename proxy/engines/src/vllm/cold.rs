//! Cold roots: prefixes that a rank holds but whose events are gone.
//!
//! vLLM's replay buffer keeps 10,000 steps. A proxy that starts later knows nothing of blocks stored before, and blocks
//! that continue them hang in the air. A request that carries [`REPORT_FIELD`] makes vLLM send `BlockStored` again for
//! the prefix it reuses, which heals the index from the root.
//!
//! Those events are of blocks that may be indexed already: an index that counts copies would count one too many and keep
//! the block after its removal. So while a rank's roots are cold, a stored event for a block that is present counts no copy.

use rankwise_core::ids::Millis;

use crate::feed::Completeness;

/// The field that is spliced into a request body as its last one. Not into a body that has one of its own: the last
/// duplicate wins, so the client's would be lost.
pub const REPORT_FIELD: &str = "vllm_xargs";
/// Its value.
pub const REPORT_VALUE: &str = r#"{"kv_cache_report_mode":"full"}"#;

/// Whether a rank's roots are cold.
///
/// They become so when the feed's completeness is not [`Completeness::Complete`], and are warm again when it is, or when
/// the index has met no unknown parent for `quiet_ms` after the first report was asked for.
#[derive(Clone, Copy, Debug)]
pub struct ColdRoots {
    quiet_ms: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Warm,
    Cold {
        since: Option<Millis>,
    },
    /// Quiet for long enough, though the feed has not become complete.
    Healed,
}

impl ColdRoots {
    /// A rank of which nothing is known yet. 60,000 ms of quiet is a good choice.
    pub fn new(quiet_ms: u64) -> Self {
        Self { quiet_ms, state: State::Warm }
    }

    /// The feed's completeness is this.
    pub fn completeness(&mut self, completeness: Completeness) {
        match (completeness, self.state) {
            (Completeness::Complete, _) => self.state = State::Warm,
            (_, State::Warm) => self.state = State::Cold { since: None },
            (_, State::Cold { .. } | State::Healed) => {}
        }
    }

    /// Messages were lost again.
    pub fn lost(&mut self) {
        self.state = State::Cold { since: None };
    }

    /// The index met a parent that it does not know.
    pub fn unknown_parent(&mut self, now: Millis) {
        if self.state != State::Warm {
            self.state = State::Cold { since: Some(now) };
        }
    }

    /// Whether a request sent to the rank now should ask for the report.
    pub fn wants_report(&mut self, now: Millis) -> bool {
        match self.state {
            State::Warm | State::Healed => false,
            State::Cold { since: None } => true,
            State::Cold { since: Some(since) } => {
                let healed = now.since(since) >= self.quiet_ms;
                if healed {
                    self.state = State::Healed;
                }
                !healed
            }
        }
    }

    /// A request that asks for the report is about to be sent.
    pub fn report_asked(&mut self, now: Millis) {
        if self.state == (State::Cold { since: None }) {
            self.state = State::Cold { since: Some(now) };
        }
    }

    /// Whether stored events may be of blocks that are indexed already, so that copies must not be counted.
    pub fn copies_unreliable(&self) -> bool {
        matches!(self.state, State::Cold { since: Some(_) })
    }
}

#[cfg(test)]
mod tests;
