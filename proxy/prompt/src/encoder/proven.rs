//! What self-tests have shown in this process, by the tokenizer's digest: pools of one model, and a pool that is made anew, load it once more
//! without trying it once more.

use parking_lot::Mutex;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// fastokens gives the reference's ids.
    Fastokens,
    /// Texts may be cut at added tokens.
    Cuts,
}

/// Proofs remembered; the oldest is forgotten first.
const PROOFS_MAX: usize = 64;

static PROVEN: Mutex<Vec<(u128, Proof)>> = Mutex::new(Vec::new());

pub(super) fn has(digest: u128, proof: Proof) -> bool {
    PROVEN.lock().contains(&(digest, proof))
}

pub(super) fn remember(digest: u128, proof: Proof) {
    let mut proven = PROVEN.lock();
    if proven.contains(&(digest, proof)) {
        return;
    }
    if proven.len() >= PROOFS_MAX {
        proven.remove(0);
    }
    proven.push((digest, proof));
}
