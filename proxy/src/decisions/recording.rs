//! Recordings of decisions: compact files that `rankwise replay` reads. They hold what policies were given and answered,
//! and what came of it; no prompt, no token ids.
//!
//! A file is [`MAGIC`], a JSON line about the pool, then records: a length, a kind, and
//! * 1, a policy: JSON, once per file before its first decision;
//! * 2, a decision: its table as differences from the table before, runs of zeros counted;
//! * 3, the truth about a decision.
//!
//! Numbers are LEB128. A file can be read alone; one that ends in the middle of a record ends before it.

mod decode;
mod encode;
mod files;
mod wire;

pub use decode::{Decoder, Event, Malformed};
pub use encode::{Encoder, RecordedPolicy, RecordedPool};
pub use files::{Recorder, RecordingLimits};

/// The first bytes of a file.
pub const MAGIC: &[u8] = b"RWDEC1\n";

/// Records, by kind.
mod kind {
    pub(super) const POLICY: u8 = 1;
    pub(super) const DECISION: u8 = 2;
    pub(super) const TRUTH: u8 = 3;
}

#[cfg(test)]
mod tests;
