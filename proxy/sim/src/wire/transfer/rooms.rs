//! SGLang: both legs come to a room of the prefill worker's, whichever is first waits for the other.

use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::super::refusal::Refused;
use super::super::site::Site;

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

/// What a leg says of its room.
struct Asked {
    room: u64,
    /// The rank that computes the prompt, if nobody says otherwise.
    rank_by_room: usize,
    rank_told: Option<u64>,
}

/// A leg in a room. Dropped before the prompt is computed, it breaks the other one.
pub(in crate::wire) struct RoomLeg {
    rooms: Arc<Mutex<FxHashMap<u64, watch::Sender<Room>>>>,
    number: u64,
    room: watch::Sender<Room>,
}

impl Rooms {
    /// Comes to compute a prompt, on `rank` if the request named it. The leg is to be told when that is done.
    pub(super) async fn prefill(
        &self,
        site: &Site,
        rank: Option<usize>,
        fields: &Map<String, Value>,
    ) -> Result<RoomLeg, Refused> {
        let asked = Asked::read(site, fields)?;
        let host = fields.get("bootstrap_host").and_then(Value::as_str);
        let port = fields.get("bootstrap_port").and_then(Value::as_u64);
        if (host, port) != (Some("127.0.0.1"), Some(site.bootstrap_port().into())) {
            return Err(Refused::body("bootstrap_host, bootstrap_port: not this worker's"));
        }
        let rank = rank.unwrap_or(asked.rank_by_room);
        if asked.rank_told != Some(rank as u64) && asked.rank_by_room != rank {
            return Err(Refused::body("follow_bootstrap_room conflict"));
        }
        let leg = self.enter(asked.room, |room| room.prefill = Some(rank));
        leg.wait(|room| room.decodes).await?;
        Ok(leg)
    }

    /// Comes for the KV of a prompt, and has it in the end.
    pub(super) async fn decode(&self, site: &Site, fields: &Map<String, Value>) -> Result<(), Refused> {
        let asked = Asked::read(site, fields)?;
        let leg = self.enter(asked.room, |room| room.decodes = true);
        let state = leg.wait(|room| room.computed).await?;
        let expected = asked.rank_told.map_or(asked.rank_by_room, |rank| rank as usize);
        if state.prefill != Some(expected) {
            return Err(Refused::internal());
        }
        Ok(())
    }

    fn enter(&self, number: u64, come: impl FnOnce(&mut Room)) -> RoomLeg {
        let mut rooms = self.0.lock();
        let room = rooms.entry(number).or_insert_with(|| watch::channel(Room::default()).0).clone();
        room.send_modify(come);
        RoomLeg { rooms: Arc::clone(&self.0), number, room }
    }
}

impl Asked {
    fn read(site: &Site, fields: &Map<String, Value>) -> Result<Self, Refused> {
        let number = |name: &str| fields.get(name).and_then(Value::as_u64);
        let Some(room) = number("bootstrap_room").filter(|room| *room < 1 << 63) else {
            return Err(Refused::body("bootstrap_room: expected a number"));
        };
        let rank_by_room = (room % site.spec.ranks as u64) as usize;
        Ok(Self { room, rank_by_room, rank_told: number("disagg_prefill_dp_rank") })
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
