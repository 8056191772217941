//! Naming a rank to vLLM, and what it should answer.

use rankwise_core::ids::{BlockSize, DpRank};

/// Headers by which some engine lets a client choose a rank, in lower case. None of them reaches an engine from a client.
///
/// vLLM reads only the first; the others are of engines and routers that may stand behind the same address.
pub const CLIENT_RANK_HEADERS: [&str; 11] = [
    "x-data-parallel-rank",
    "x-data-parallel-host-port",
    "x-data-parallel-routing-rank",
    "x-dp-rank",
    "x-attention-dp-rank",
    "x-routed-dp-rank",
    "x-override-routed-dp-rank",
    "x-override-disagg-prefill-dp-rank",
    "x-override-bootstrap-host",
    "x-override-bootstrap-port",
    "x-override-bootstrap-room",
];

/// Body fields by which some engine lets a client choose a rank. vLLM 0.32 and 0.33 read none of them, so that nothing
/// is written into the body for vLLM: the header alone decides.
pub const BODY_RANK_FIELDS: [&str; 5] = [
    "data_parallel_rank",
    "routed_dp_rank",
    "attention_dp_rank",
    "attention_dp_relax",
    "disagg_prefill_dp_rank",
];

/// The header that pins a request to the rank, counted from 0 within the worker.
///
/// Send exactly one, after stripping the client's: vLLM ignores what is not an integer without a word, and answers a
/// stream for a rank out of range with 200 and an error event. A worker with a single rank is sent none.
pub fn rank_header(rank: DpRank) -> (&'static str, String) {
    (CLIENT_RANK_HEADERS[0], rank.to_string())
}

/// Whether a client's header of this name must be stripped; any case, `_` read as `-` as some servers do.
pub fn is_client_rank_header(name: &str) -> bool {
    let same = |known: &&str| {
        known.len() == name.len()
            && known.bytes().zip(name.bytes()).all(|(a, b)| {
                let b = if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
                a == b
            })
    };
    CLIENT_RANK_HEADERS.iter().any(same)
}

/// The `cached_tokens` that vLLM should report: `min(overlap * B, floor((prompt_tokens - 1) / B) * B)`.
///
/// The last token is always computed anew, so a fully cached prompt of exactly k blocks shows k - 1.
pub fn expected_cached_tokens(overlap_blocks: u32, block_size: BlockSize, prompt_tokens: u32) -> u32 {
    let block = block_size.0.max(1);
    let reusable = prompt_tokens.saturating_sub(1) / block * block;
    overlap_blocks.saturating_mul(block).min(reusable)
}

#[cfg(test)]
mod tests;
