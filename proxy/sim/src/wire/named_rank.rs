//! The rank that a request names, as its engine reads it.

mod dynamo;
mod sglang;
mod trtllm;

pub(super) use dynamo::worker as named_worker;
use http::HeaderValue;
use rankwise_prompt::Api;

use super::incoming::Incoming;
use super::rank_header::{self, RankAsk};
use super::refusal::{Failure, Refused};
use super::site::Site;
use crate::{EngineWire, TrtllmServer};

/// The rank, `None` where the engine is to choose. `stream`: whether the answer is to be streamed.
pub(super) fn read(
    site: &Site,
    instance_id: u64,
    incoming: &Incoming<'_>,
    stream: bool,
) -> Result<Option<usize>, Failure> {
    let spec = &site.spec;
    let pinned = incoming.headers.get(rank_header::NAME).map(HeaderValue::as_bytes);
    let named = match spec.engine {
        // It hands no rank on from there.
        EngineWire::Vllm if incoming.api == Api::Responses => Ok(None),
        EngineWire::Vllm => match rank_header::read(pinned, spec.ranks) {
            RankAsk::Any => Ok(None),
            RankAsk::Rank(rank) => Ok(Some(rank as usize)),
            // The check runs after the head of a stream is sent.
            RankAsk::OutOfRange(rank) => return Err((Refused::rank(&rank, spec.ranks), stream)),
        },
        // Its own API reads no header.
        EngineWire::Sglang if incoming.api == Api::SglangGenerate => {
            sglang::read(None, incoming.body, spec.ranks)
        }
        EngineWire::Sglang => sglang::read(pinned, incoming.body, spec.ranks),
        EngineWire::Trtllm => match spec.trtllm {
            TrtllmServer::Shim => trtllm::read(incoming.headers, spec.ranks),
            bare => trtllm::read_bare(bare, incoming.body, spec.ranks),
        },
        EngineWire::Dynamo => dynamo::read(incoming.headers, instance_id, spec.ranks),
        EngineWire::Generic => Ok(None),
    };
    // Elsewhere the first chunk is there before the head is sent: errors are never told in the stream.
    named.map_err(|refused| (refused, false))
}
