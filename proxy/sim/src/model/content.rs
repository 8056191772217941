//! What a cached block holds.

use std::sync::Arc;

use super::chain::ChainHash;

/// What a block holds, whichever tier it is in.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) parent: Option<ChainHash>,
    pub(super) tokens: Arc<[u32]>,
    pub(super) salt: Option<Arc<str>>,
}
