//! KV on its way from one worker to another: how each engine ties the two legs of a request together. What does not fit
//! together is refused, as the engine would or worse.

mod kept;
mod leg;
mod rooms;

use serde_json::{Map, Value};

use super::ask::Ask;
use super::incoming::Incoming;
use super::named_rank;
use super::refusal::Refused;
use super::site::{Role, Site};
use crate::EngineWire;
use kept::Kept;
pub(super) use leg::Leg;
use rooms::Rooms;

/// What a fleet's workers hold for each other.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    kept: Kept,
    rooms: Rooms,
}

impl Transfers {
    /// Which leg a request is, once its prompt's KV is there if it comes from elsewhere.
    pub(super) async fn join(&self, site: &Site, ask: &Ask, incoming: &Incoming<'_>) -> Result<Leg, Refused> {
        let role = site.role();
        if role == Role::Whole {
            return Ok(Leg::Whole);
        }
        // Of a field that is there twice the last counts, as in Python.
        let fields: Map<String, Value> =
            serde_json::from_slice(incoming.body).map_err(|error| Refused::body(&error.to_string()))?;
        let [prompt] = ask.prompts.as_slice() else { return Err(Refused::body("one prompt expected")) };
        match site.spec.engine {
            EngineWire::Vllm => self.kept.vllm(role, ask, &fields, prompt),
            EngineWire::Trtllm => self.kept.trtllm(role, ask, &fields, prompt),
            EngineWire::Sglang => {
                let rank = named_rank::read(site, 0, incoming, ask.stream).map_err(|(refused, _)| refused)?;
                match role {
                    Role::Prefill => self.rooms.prefill(site, rank, &fields).await.map(Leg::Sends),
                    _ => self.rooms.decode(site, &fields).await.map(|()| Leg::Fetched),
                }
            }
            EngineWire::Dynamo | EngineWire::Generic => Ok(Leg::Whole),
        }
    }

    /// A leg's prompt is computed. `rank`: where. What its answer says of it is put there.
    pub(super) fn computed(
        &self,
        site: &Site,
        leg: &mut Leg,
        rank: usize,
        prompt: &[u32],
        answer: Option<&mut Value>,
    ) {
        match (leg, answer) {
            (Leg::Keeps, Some(answer)) => match site.spec.engine {
                EngineWire::Trtllm => self.kept.keep_trtllm(site, rank, prompt, answer),
                _ => self.kept.keep_vllm(site, rank, prompt, answer),
            },
            (Leg::Sends(room), _) => room.computed(),
            _ => {}
        }
    }
}
