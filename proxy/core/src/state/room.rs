//! Leaving out of a snapshot the rows that have no room for the request.

use super::inner::Inner;
use crate::request::PlacementRequest;
use crate::snapshot::{NoRoom, Overlaps, RoomRule, Row, blocks_down, blocks_up};
use crate::target::Target;

/// What every row is asked.
pub(super) struct Room<'a> {
    inner: &'a Inner,
    rule: &'a RoomRule,
    request: &'a PlacementRequest<'a>,
    overlaps: &'a Overlaps,
    /// Long prompts that are computed, by group.
    long_prefills: Vec<u32>,
}

impl<'a> Room<'a> {
    /// `None` where nothing is asked.
    pub(super) fn of(
        inner: &'a Inner,
        request: &'a PlacementRequest<'a>,
        overlaps: &'a Overlaps,
    ) -> Option<Self> {
        let rule = &inner.config.room;
        if !request.in_room || !rule.is_on() {
            return None;
        }
        let mut long_prefills = Vec::new();
        if rule.is_long(request.prompt_tokens().into()) && request.computes() {
            long_prefills.resize(inner.topology.groups(), 0);
            for (_, place) in inner.topology.members() {
                let long = inner.ledger(place.slot).map_or(0, |ledger| ledger.long_prefills);
                long_prefills[place.group] += long;
            }
        }
        Some(Self { inner, rule, request, overlaps, long_prefills })
    }

    /// Why a row, whose load and overlap are known, is to be left out, if it is.
    pub(super) fn lacks(&self, row: &Row, target: &Target) -> Option<NoRoom> {
        if self.is_long_beside_others(row) {
            return Some(NoRoom::LongPrefill);
        }
        (self.rule.blocks && !self.fits(row, target)).then_some(NoRoom::Blocks)
    }

    fn is_long_beside_others(&self, row: &Row) -> bool {
        let group = self.inner.topology.group(row.group).and_then(|group| self.long_prefills.get(group));
        if group.is_none_or(|long| *long < self.rule.long_prefills_max) {
            return false;
        }
        let found = u64::from(row.overlap.held() + row.overlap.pending) * u64::from(row.block_size.0);
        self.rule.is_long(u64::from(self.request.prompt_tokens()).saturating_sub(found))
    }

    fn fits(&self, row: &Row, target: &Target) -> bool {
        let (size, pool) = (row.block_size, self.inner.pool_block_size);
        let capacity = blocks_down(u64::from(target.spec.capacity_blocks), size, pool);
        let each = self.request.max_output_tokens.unwrap_or(u32::MAX).min(self.rule.output_tokens_max);
        let output = u64::from(each) * u64::from(self.request.running());
        let chain = self.request.chain(size).len();
        let blocks = chain as u64 + self.request.private(chain, size).blocks(output);
        let new = blocks - u64::from(self.overlaps.active(row.place.slot));
        let free = capacity.saturating_sub(u64::from(row.load.active_blocks));
        capacity == 0 || blocks_up(new, size, pool).min(capacity) <= free
    }
}
