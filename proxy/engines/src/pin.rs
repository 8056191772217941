//! Naming a rank to an engine, and what it should answer.

use rankwise_core::ids::{BlockSize, DpRank};

/// Headers by which some engine lets a client choose a worker or a rank, in lower case. None of them reaches an engine
/// from a client.
///
/// vLLM and SGLang read the first; the others are of SGLang's overrides, of Dynamo, and of routers that may stand behind
/// the same address.
pub const CLIENT_RANK_HEADERS: [&str; 16] = [
    RANK_HEADER,
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
    "x-worker-instance-id",
    "x-dynamo-worker-instance-id",
    "x-dynamo-dp-rank",
    "x-dynamo-prefill-instance-id",
    "x-dynamo-prefill-dp-rank",
];

/// The header that most engines are told a rank by.
pub const RANK_HEADER: &str = "x-data-parallel-rank";

/// How a worker is told which rank serves a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pinning {
    /// By the header alone. vLLM 0.32 and 0.33 and Dynamo read no field of the body, TensorRT-LLM's shim neither.
    Header,
    /// By SGLang's header and its field. The header wins on its OpenAI endpoints and is not read on `/generate`; writing
    /// the field everywhere keeps a client's own from choosing a rank where none is named.
    HeaderAndField,
    /// By TensorRT-LLM's fields, where the server takes them.
    AttentionDpFields,
    /// Not at all: the engine chooses.
    Nothing,
}

/// What is written into a request so that a rank serves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pin {
    /// The only header of its name; lower case, a clean decimal number.
    pub header: Option<(&'static str, String)>,
    /// Fields at the end of the body, where the last of duplicates wins: name and JSON.
    pub fields: Vec<(&'static str, String)>,
}

impl Pinning {
    /// How `rank` of a worker with `ranks` ranks is named. `None`: it cannot be.
    ///
    /// The single rank of a worker is not named: vLLM's ranks in external mode have global numbers but accept only 0.
    pub fn pin(self, rank: DpRank, ranks: u32) -> Option<Pin> {
        if rank.0 >= ranks || self == Self::Nothing {
            return None;
        }
        if ranks == 1 {
            return Some(self.left_open());
        }
        // vLLM ignores what is not an integer without a word: one clean decimal number.
        let header = (RANK_HEADER, rank.to_string());
        Some(match self {
            Self::Header => Pin { header: Some(header), fields: Vec::new() },
            Self::HeaderAndField => Pin {
                header: Some(header),
                fields: vec![("data_parallel_rank", "null".into()), ("routed_dp_rank", rank.to_string())],
            },
            // Not relaxed, and said so: versions differ in what they take the absence for.
            Self::AttentionDpFields => Pin {
                header: None,
                fields: vec![("attention_dp_rank", rank.to_string()), ("attention_dp_relax", "false".into())],
            },
            Self::Nothing => return None,
        })
    }

    /// What is written when the engine is to choose: nothing, or what takes a client's own choice back.
    pub fn left_open(self) -> Pin {
        let names: &[&'static str] = match self {
            Self::HeaderAndField => &["data_parallel_rank", "routed_dp_rank"],
            Self::AttentionDpFields => &["attention_dp_rank", "attention_dp_relax"],
            Self::Header | Self::Nothing => &[],
        };
        Pin { header: None, fields: names.iter().map(|name| (*name, "null".to_owned())).collect() }
    }
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

/// The `cached_tokens` that an engine should report: `min(overlap * B, floor((prompt_tokens - 1) / B) * B)`.
///
/// The last token is always computed anew, so a fully cached prompt of exactly k blocks shows k - 1. So in vLLM
/// (measured), and in SGLang, whose radix cache matches whole pages of all tokens but the last.
pub fn expected_cached_tokens(overlap_blocks: u32, block_size: BlockSize, prompt_tokens: u32) -> u32 {
    let block = block_size.0.max(1);
    let reusable = prompt_tokens.saturating_sub(1) / block * block;
    overlap_blocks.saturating_mul(block).min(reusable)
}

#[cfg(test)]
mod tests;
