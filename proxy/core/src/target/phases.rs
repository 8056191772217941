//! Which phases of requests a target takes part in.

use crate::policy::Phase;

/// A set of phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Phases(u8);

impl Phases {
    /// Whole requests and nothing else.
    pub const WHOLE: Self = Self::only(Phase::Aggregated);

    /// This phase alone.
    pub const fn only(phase: Phase) -> Self {
        Self(1 << phase as u8)
    }

    /// And this one too.
    #[must_use]
    pub const fn and(self, phase: Phase) -> Self {
        Self(self.0 | Self::only(phase).0)
    }

    /// Whether it is one of them.
    pub const fn has(self, phase: Phase) -> bool {
        self.0 & Self::only(phase).0 != 0
    }

    /// Whether they have one in common.
    pub const fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_in_the_set_it_was_put_into() {
        let decode = Phases::only(Phase::Decode);
        assert!(decode.has(Phase::Decode) && !decode.has(Phase::Prefill) && !decode.has(Phase::Aggregated));
        let both = decode.and(Phase::Aggregated);
        assert!(both.has(Phase::Decode) && both.has(Phase::Aggregated) && !both.has(Phase::Prefill));
        assert!(both.meet(Phases::WHOLE) && !decode.meet(Phases::WHOLE));
    }
}
