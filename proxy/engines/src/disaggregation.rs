//! Requests in two legs: one worker computes the prompt, another makes the answer. What is written into each leg, and what
//! the answer to the first hands over to the second.
//!
//! Everything is said by fields at the end of the body, where the last of duplicates wins: a client that names a place to fetch
//! KV from, or to leave it at, is never heard.

mod handover;

use rankwise_core::ids::DpRank;
use rankwise_core::policy::Phase;
use rankwise_core::target::Phases;

pub use handover::Unreadable;

/// What a worker does of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// All of it.
    #[default]
    Aggregated,
    /// Its prompt.
    Prefill,
    /// Its answer.
    Decode,
}

impl Role {
    /// The name in config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Aggregated => "aggregated",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

/// A field at the end of a body: name and JSON.
pub type Field = (&'static str, String);

/// How the KV of a prompt gets from the worker that computed it to the one that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transfer {
    /// vLLM's connectors that pull, such as NIXL: the answer to the first leg has `kv_transfer_params`, which say where the
    /// blocks are; the second leg has them unchanged. The rank that holds them is in its port.
    KvTransferParams,
    /// TensorRT-LLM: the same with `disaggregated_params`, and the prompt's token ids besides.
    DisaggregatedParams,
    /// SGLang: both legs are sent at once and meet in a room of the prefill worker's bootstrap server.
    BootstrapRoom,
}

/// Where an SGLang prefill worker's bootstrap server listens unless it is told otherwise.
pub const BOOTSTRAP_PORT: u16 = 8998;

/// Where two legs of SGLang meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Host of the prefill worker.
    pub host: String,
    /// Its bootstrap server's port.
    pub port: u16,
    /// The room's number.
    pub number: u64,
    /// The rank that computes the prompt; none where its worker chooses.
    pub prefill_rank: Option<DpRank>,
}

impl Room {
    /// The number of a room for this rank, of `ranks`, by uniform bits.
    ///
    /// A prefill worker that balances by room (its default) refuses one for which `room % ranks` is another rank than the one it
    /// is told ("follow_bootstrap_room conflict"). Numbers have 63 bits.
    pub fn number(draw: u64, rank: DpRank, ranks: u32) -> u64 {
        let ranks = u64::from(ranks.max(1));
        let base = draw >> 2;
        base - base % ranks + u64::from(rank.0) % ranks
    }
}

impl Transfer {
    /// What a worker of this role takes part in. vLLM and TensorRT-LLM answer whole requests on workers that decode; SGLang's
    /// wait there for a room that nobody opens.
    pub fn phases(self, role: Role) -> Phases {
        match (role, self) {
            (Role::Aggregated, _) => Phases::WHOLE,
            (Role::Prefill, _) => Phases::only(Phase::Prefill),
            (Role::Decode, Self::BootstrapRoom) => Phases::only(Phase::Decode),
            (Role::Decode, _) => Phases::only(Phase::Decode).and(Phase::Aggregated),
        }
    }

    /// What is written into a whole request to a worker that can transfer: it does not.
    pub fn closed(self) -> Vec<Field> {
        let names: &[&'static str] = match self {
            Self::KvTransferParams => &["kv_transfer_params"],
            Self::DisaggregatedParams => &["disaggregated_params"],
            Self::BootstrapRoom => {
                &["bootstrap_host", "bootstrap_port", "bootstrap_room", "disagg_prefill_dp_rank"]
            }
        };
        names.iter().map(|name| (*name, "null".to_owned())).collect()
    }

    /// What is written into the first leg of a request, where the legs follow each other: one token, not streamed, and its KV kept.
    /// `chat`: to `/v1/chat/completions`, which has two names for the limit.
    pub fn prefill(self, chat: bool) -> Vec<Field> {
        let mut fields: Vec<Field> =
            vec![("stream", "false".into()), ("stream_options", "null".into()), ("max_tokens", "1".into())];
        if chat {
            fields.push(("max_completion_tokens", "1".into()));
        }
        match self {
            Self::KvTransferParams => {
                fields.push(("min_tokens", "0".into()));
                let kept = r#"{"do_remote_decode":true,"do_remote_prefill":false}"#;
                fields.push(("kv_transfer_params", kept.into()));
            }
            Self::DisaggregatedParams => {
                fields.push(("disaggregated_params", r#"{"request_type":"context_only"}"#.into()));
            }
            // Both legs are the client's own request.
            Self::BootstrapRoom => fields.clear(),
        }
        fields
    }

    /// What is written into the second leg, by the answer to the first. None: nothing was kept, as where the first token was the
    /// last one, and the request is to be run whole.
    ///
    /// # Errors
    /// If the answer is not of its shape.
    pub fn handed_over(self, answer: &[u8], chat: bool) -> Result<Option<Vec<Field>>, Unreadable> {
        match self {
            Self::KvTransferParams => handover::kv_transfer_params(answer),
            Self::DisaggregatedParams => handover::disaggregated_params(answer, chat),
            Self::BootstrapRoom => Ok(None),
        }
    }
}

/// What is written into both legs that meet in a room.
pub fn meet(room: &Room) -> Vec<Field> {
    let rank = room.prefill_rank.map_or_else(|| "null".to_owned(), |rank| rank.to_string());
    vec![
        ("bootstrap_host", serde_json::Value::from(room.host.as_str()).to_string()),
        ("bootstrap_port", room.port.to_string()),
        ("bootstrap_room", room.number.to_string()),
        ("disagg_prefill_dp_rank", rank),
    ]
}

#[cfg(test)]
mod tests;
