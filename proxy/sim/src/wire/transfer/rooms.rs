//! SGLang: both legs come to a room of the prefill worker's, whichever is first waits for the other.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::super::refusal::Refused;
use super::super::worker::Worker;
use super::{Leg, Role};

/// The rooms in use, by number.
#[derive(Debug, Default)]
pub(super) struct Rooms(Arc<Mutex<FxHashMap<u64, watch::Sender<Room>>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Room {
    /// The rank that computes the prompt.
    prefill: Option<usize>,
    decodes: bool,
    computed: bool,
    /// One of the legs has gone.
    broken: bool,
}

/// A leg in a room. Dropped before the prompt is computed, it breaks the other one.
pub(in crate::wire) struct RoomLeg {
    rooms: Arc<Mutex<FxHashMap<u64, watch::Sender<Room>>>>,
    number: u64,
    room: watch::Sender<Room>,
}

impl Rooms {
    pub(super) async fn join(
        &self,
        worker: &Worker,
        role: Role,
        rank: Option<usize>,
        fields: &Map<String, Value>,
    ) -> Result<Leg, Refused> {
        let number = |name: &str| fields.get(name).and_then(Value::as_u64);
        let ranks = worker.spec.ranks as u64;
        let told = number("disagg_prefill_dp_rank");
        let Some(room) = number("bootstrap_room").filter(|room| *room < 1 << 63) else {
            return Err(Refused::body("bootstrap_room: expected a number"));
        };
        let by_room = (room % ranks) as usize;
        match role {
            Role::Prefill => {
                let host = fields.get("bootstrap_host").and_then(Value::as_str);
                let port = number("bootstrap_port");
                if (host, port) != (Some("127.0.0.1"), Some(worker.bootstrap_port().into())) {
                    return Err(Refused::body("bootstrap_host, bootstrap_port: not this worker's"));
                }
                let rank = rank.unwrap_or(by_room);
                if told != Some(rank as u64) && by_room != rank {
                    return Err(Refused::body("follow_bootstrap_room conflict"));
                }
                let leg = self.enter(room, |room| room.prefill = Some(rank));
                leg.wait(|room| room.decodes).await?;
                Ok(Leg::Sends(leg))
            }
            _ => {
                let leg = self.enter(room, |room| room.decodes = true);
                let state = leg.wait(|room| room.computed).await?;
                let expected = told.map_or(by_room, |rank| rank as usize);
                if state.prefill != Some(expected) {
                    return Err(Refused::internal());
                }
                Ok(Leg::Fetched)
            }
        }
    }

    fn enter(&self, number: u64, come: impl FnOnce(&mut Room)) -> RoomLeg {
        let mut rooms = self.0.lock();
        let room = rooms.entry(number).or_insert_with(|| watch::channel(Room::default()).0).clone();
        room.send_modify(come);
        RoomLeg { rooms: Arc::clone(&self.0), number, room }
    }
}

impl RoomLeg {
    async fn wait(&self, until: impl Fn(&Room) -> bool) -> Result<Room, Refused> {
        let mut room = self.room.subscribe();
        let state = room.wait_for(|room| room.broken || until(room)).await.map(|room| *room);
        state.ok().filter(|room| !room.broken).ok_or_else(Refused::internal)
    }

    pub(super) fn computed(&self) {
        self.room.send_modify(|room| room.computed = true);
    }
}

impl Drop for RoomLeg {
    fn drop(&mut self) {
        self.room.send_modify(|room| room.broken |= !room.computed);
        self.rooms.lock().remove(&self.number);
    }
}
