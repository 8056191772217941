//! What a policy is shown: one row per target that may be picked.

mod overlaps;
mod room;
mod units;

use std::sync::Arc;

pub use overlaps::Overlaps;
pub use room::{NoRoom, RoomRule};
pub(crate) use units::{blocks_down, blocks_up, clamp};

use crate::ids::{BlockSize, DpRank, GroupId, TargetId, WorkerId};
use crate::policy::Column;
use crate::target::{Condition, Target};
use crate::topology::{Place, Topology};

/// How much of a prompt a target has, in the target's own blocks. The four follow each other in the prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Overlap {
    /// Leading blocks in device memory.
    pub device: u32,
    /// Further blocks of the longest prefix that some tier holds whose fastest tier is the host's memory. A block in
    /// device memory behind one that is not counts here.
    pub host: u32,
    /// The same for disk.
    pub disk: u32,
    /// Further blocks, until the first that is neither held nor pending.
    pub pending: u32,
}

impl Overlap {
    /// Blocks of the longest prefix that some tier holds.
    pub fn held(&self) -> u32 {
        self.device + self.host + self.disk
    }
}

/// What is booked on a target, a worker's bookings included by their share. Blocks in the pool's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowLoad {
    /// Tokens booked and not yet prefilled.
    pub prefill_tokens: u32,
    /// Blocks held by running requests.
    pub active_blocks: u32,
    /// Requests in flight.
    pub running: u32,
    /// Permille.
    pub weight: u32,
}

/// One target that may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The target.
    pub target: TargetId,
    /// Its worker.
    pub worker: WorkerId,
    /// Its rank.
    pub rank: DpRank,
    /// Its lockstep group.
    pub group: GroupId,
    /// Tokens per block of `overlap`.
    pub block_size: BlockSize,
    /// How often it had been booked when the snapshot was made.
    pub epoch: u64,
    /// How much of the prompt it has, whatever columns were asked for. 0 if the request had no prompt.
    pub overlap: Overlap,
    /// What is booked there, whatever columns were asked for.
    pub load: RowLoad,
    /// What the target was when the filter saw it: looked up once, not column by column.
    pub(crate) condition: Condition,
    pub(crate) capacity_blocks: u32,
    pub(crate) position: u32,
    pub(crate) place: Place,
}

/// A table of targets for one decision. Made once per thread and filled again and again.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub(crate) topology: Arc<Topology>,
    pub(crate) rows: Vec<Row>,
    pub(crate) columns: Vec<Column>,
    pub(crate) packed: Vec<u32>,
    pub(crate) overlaps: Overlaps,
    /// Peaks of prefill tokens and active blocks, by group.
    pub(crate) peaks: Vec<(u32, u32)>,
    /// Positions of targets that would be rows if they had room.
    pub(crate) no_room: Vec<(u32, NoRoom)>,
}

impl Snapshot {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rows, sorted by (worker, rank).
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The targets that the filter let through and that have no room for the request.
    pub fn without_room(&self) -> impl Iterator<Item = (&Arc<Target>, NoRoom)> {
        let target = |position: u32| self.topology.targets().get(position as usize);
        self.no_room.iter().filter_map(move |(position, why)| Some((target(*position)?, *why)))
    }

    /// The columns that were asked for, in that order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The figures, column-major: `packed[c * rows + row]`.
    pub fn packed(&self) -> &[u32] {
        &self.packed
    }

    /// The same, for a caller that fills a column only it knows, such as [`Column::Learned`] (0 until then).
    pub fn column_mut(&mut self, column: Column) -> Option<&mut [u32]> {
        let at = self.columns.iter().position(|known| *known == column)?;
        let rows = self.rows.len();
        self.packed.get_mut(at * rows..(at + 1) * rows)
    }

    /// One column, if it was asked for.
    pub fn column(&self, column: Column) -> Option<&[u32]> {
        let at = self.columns.iter().position(|known| *known == column)?;
        let rows = self.rows.len();
        self.packed.get(at * rows..(at + 1) * rows)
    }

    /// The target of a row.
    pub fn target(&self, row: u32) -> Option<&Arc<Target>> {
        let row = self.rows.get(row as usize)?;
        self.topology.targets().get(row.position as usize)
    }

    /// The row of a target.
    pub fn row_of(&self, target: TargetId) -> Option<u32> {
        self.rows.iter().position(|row| row.target == target).map(|at| at as u32)
    }
}
