//! What is kept of decisions. The same types in the document and at run time.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::byte_size;

/// What is kept of decisions: receipts in memory, a recording on disk. Never a prompt or its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Decisions {
    /// Of a thousand decisions, how many leave a receipt. `0`: only those that the admin API asks for.
    pub sample_permille: u32,
    /// Receipts kept for each pool.
    pub receipts_max: NonZeroUsize,
    /// Decisions that wait for their shadow or receipt. Further ones are dropped and counted.
    pub queue_max: NonZeroUsize,
    /// Folder for recordings, which `rankwise replay` reads. Default: nothing is recorded.
    pub recording: Option<Recording>,
}

impl Default for Decisions {
    fn default() -> Self {
        Self {
            sample_permille: 10,
            receipts_max: NonZeroUsize::MIN.saturating_add(255),
            queue_max: NonZeroUsize::MIN.saturating_add(255),
            recording: None,
        }
    }
}

/// A recording of the decisions that leave a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// Where its files are written.
    pub folder: PathBuf,
    /// Largest file, in bytes. Then the next one is begun.
    #[serde(with = "byte_size", default = "file_bytes_max")]
    #[schemars(with = "byte_size::Written")]
    pub file_bytes_max: usize,
    /// Files kept for each pool; the oldest are deleted.
    #[serde(default = "files_max")]
    pub files_max: NonZeroUsize,
    /// Decisions recorded in a second, for each pool. Further ones are dropped and counted.
    #[serde(default = "per_second_max")]
    pub per_second_max: NonZeroU32,
}

fn file_bytes_max() -> usize {
    64 << 20
}

fn files_max() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(7)
}

fn per_second_max() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(999)
}
