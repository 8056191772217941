//! KV on its way from one worker to another: how each engine ties the two legs of a request together. What does not fit
//! together is refused, as the engine would or worse.

mod kept;
mod rooms;

use ::http::HeaderValue;
use serde_json::{Map, Value};

use super::ask::Ask;
use super::generate::Incoming;
use super::rank_header;
use super::refusal::Refused;
use super::sglang;
use super::worker::Worker;
use crate::EngineWire;
use kept::Kept;
use rooms::{RoomLeg, Rooms};

/// What a worker does of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// All of it.
    Whole,
    /// Its prompt.
    Prefill,
    /// Its answer.
    Decode,
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

/// What a fleet's workers hold for each other.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    kept: Kept,
    rooms: Rooms,
}

/// The part of a request that a worker was sent.
pub(super) enum Leg {
    /// All of it.
    Whole,
    /// Its prompt, whose KV is kept for whoever names it.
    Keeps,
    /// Its answer: the prompt's KV was fetched.
    Fetched,
    /// Its prompt, whose KV goes to whoever came to the room.
    Sends(RoomLeg),
}

impl Leg {
    /// Whether its KV comes from elsewhere.
    pub(super) fn is_transferred(&self) -> bool {
        matches!(self, Self::Fetched)
    }

    /// Whether its first token is its last.
    pub(super) fn is_prefill(&self) -> bool {
        matches!(self, Self::Keeps | Self::Sends(_))
    }

    /// Its prompt is computed. `rank`: where. What its answer says of it is put there.
    pub(super) fn computed(
        &mut self,
        worker: &Worker,
        rank: usize,
        prompt: &[u32],
        answer: Option<&mut Value>,
    ) {
        match (self, answer) {
            (Self::Keeps, Some(answer)) => match worker.spec.engine {
                EngineWire::Trtllm => worker.transfers.kept.keep_trtllm(worker, rank, prompt, answer),
                _ => worker.transfers.kept.keep_vllm(worker, rank, prompt, answer),
            },
            (Self::Sends(room), _) => room.computed(),
            _ => {}
        }
    }
}

/// Which leg a request is, once its prompt's KV is there if it comes from elsewhere.
pub(super) async fn join(worker: &Worker, ask: &Ask, incoming: &Incoming<'_>) -> Result<Leg, Refused> {
    let role = worker.role();
    if role == Role::Whole {
        return Ok(Leg::Whole);
    }
    // Of a field that is there twice the last counts, as in Python.
    let fields: Map<String, Value> =
        serde_json::from_slice(incoming.body).map_err(|error| Refused::body(&error.to_string()))?;
    let [prompt] = ask.prompts.as_slice() else { return Err(Refused::body("one prompt expected")) };
    let kept = &worker.transfers.kept;
    match worker.spec.engine {
        EngineWire::Vllm => kept.vllm(role, ask, &fields, prompt),
        EngineWire::Trtllm => kept.trtllm(role, ask, &fields, prompt),
        EngineWire::Sglang => {
            let pinned = incoming.headers.get(rank_header::NAME).map(HeaderValue::as_bytes);
            let rank = sglang::rank(pinned, incoming.body, worker.spec.ranks)?;
            worker.transfers.rooms.join(worker, role, rank, &fields).await
        }
        EngineWire::Generic => Ok(Leg::Whole),
    }
}

/// An only prefill of one token, told at once.
fn check_prefill(role: Role, ask: &Ask) -> Result<Leg, Refused> {
    if role != Role::Prefill || ask.stream || ask.max_tokens != Some(1) || ask.n != 1 {
        return Err(Refused::body("a prefill is one token, not streamed, of a worker that prefills"));
    }
    Ok(Leg::Keeps)
}
