//! A worker's place in its fleet.

use std::sync::Arc;

use crate::spec::FleetSpec;

/// Which of the fleet's workers it is.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) index: usize,
    pub(super) spec: Arc<FleetSpec>,
}

/// What a worker does of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// All of it.
    Whole,
    /// Its prompt.
    Prefill,
    /// Its answer.
    Decode,
}

impl Site {
    pub(super) fn role(&self) -> Role {
        match self.spec.prefill_workers {
            0 => Role::Whole,
            first if self.index < first => Role::Prefill,
            _ => Role::Decode,
        }
    }

    /// What its first rank is called where ranks have global numbers.
    pub(super) fn start_rank(&self) -> usize {
        self.spec.start_rank(self.index)
    }

    /// Where SGLang says that its bootstrap server listens; nobody does here.
    pub(super) fn bootstrap_port(&self) -> u16 {
        8998 + self.index as u16
    }
}

impl Role {
    /// As SGLang calls it.
    pub(super) fn mode(self) -> &'static str {
        match self {
            Self::Whole => "null",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}
