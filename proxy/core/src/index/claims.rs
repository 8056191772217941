//! What live bookings contain, and what is pending for them: lanes of the same trie.
//!
//! A booking contains a prefix, so in each extent on its way it claims the blocks from the first one on. Which of them are
//! pending for it, the booking itself keeps; here is what all bookings of a target have in common.

use smallvec::SmallVec;

use super::place::Spot;
use super::{ExtentId, Index, Slot};
use crate::event::Tier;
use crate::hash::PrefixHash;
use crate::ledger::{Bits, BookingId};

/// The blocks of one extent that a booking contains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) extent: ExtentId,
    /// Position in the prompt of the extent's first block.
    pub(crate) first: u32,
    /// How many.
    pub(crate) blocks: u16,
}

impl Segment {
    /// Positions in the prompt.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        let first = self.first as usize;
        first..first + usize::from(self.blocks)
    }
}

/// That a booking contains an extent's first blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) slot: Slot,
    pub(crate) booking: BookingId,
    pub(crate) blocks: u16,
    /// It has not ended; one that has is only waited for.
    pub(crate) live: bool,
}

/// What a target knows of a prompt's blocks, by position.
#[derive(Debug)]
pub(crate) struct Known {
    /// In device memory.
    pub(crate) device: Bits,
    /// In device memory or the host's.
    pub(crate) near: Bits,
    /// On any tier.
    pub(crate) held: Bits,
    pub(crate) pending: Bits,
}

impl Index {
    /// Finds or makes all blocks of a prompt. Empty where it would not fit the addresses. Every segment must be claimed
    /// at once, or [`release`](Self::release)d.
    pub(crate) fn place_prompt(&mut self, chain: &[PrefixHash]) -> SmallVec<[Segment; 4]> {
        let mut segments = SmallVec::new();
        let (mut spot, mut done) = (Spot::Root, 0);
        while done < chain.len() {
            let Some(span) = self.place(spot, &chain[done..], 0) else {
                segments.iter().rev().for_each(|segment: &Segment| self.release(segment.extent));
                return SmallVec::new();
            };
            // A prompt enters each extent at its first block, but one that goes on where the last span ended.
            match segments.last_mut().filter(|last| last.extent == span.extent) {
                Some(last) => last.blocks = span.end,
                None => segments.push(Segment { extent: span.extent, first: done as u32, blocks: span.end }),
            }
            done += usize::from(span.end - span.start);
            if done == chain.len() {
                self.extents.mark(span.extent, span.end);
            }
            spot = Spot::After(span.extent, span.end);
        }
        segments
    }

    /// What the target knows of the blocks of these segments.
    pub(crate) fn known(&self, slot: Slot, segments: &[Segment]) -> Known {
        let len = segments.last().map_or(0, |last| last.range().end);
        let mut known = Known {
            device: Bits::none(len),
            near: Bits::none(len),
            held: Bits::none(len),
            pending: Bits::none(len),
        };
        for segment in segments {
            let extent = &self.extents[segment.extent];
            let set = |bits: &mut Bits, (start, end): (u16, u16)| {
                let (start, end) = (start.min(segment.blocks), end.min(segment.blocks));
                let first = segment.first as usize;
                bits.set(first + usize::from(start)..first + usize::from(end));
            };
            for tier in Tier::ALL {
                for run in extent.lane(tier).into_iter().flat_map(|lane| lane.of(slot)) {
                    set(&mut known.held, run);
                    if tier <= Tier::Host {
                        set(&mut known.near, run);
                    }
                    if tier == Tier::Device {
                        set(&mut known.device, run);
                    }
                }
            }
            for run in extent.pending().into_iter().flat_map(|lane| lane.of(slot)) {
                set(&mut known.pending, run);
            }
        }
        known
    }

    /// A live booking contains the segment. Returns how many blocks no other did.
    pub(crate) fn claim(&mut self, slot: Slot, booking: BookingId, segment: Segment) -> u32 {
        let slots = self.caches.len();
        let mut extent = self.extents.live(segment.extent);
        let rare = extent.rare_mut();
        // Later bookings have greater numbers.
        let at = rare.claims.partition_point(|claim| (claim.slot, claim.booking) < (slot, booking));
        rare.claims.insert(at, Claim { slot, booking, blocks: segment.blocks, live: true });
        let before = rare.active.run_end(slot, 0).unwrap_or(0);
        rare.active.add(slot, 0, segment.blocks, slots);
        u32::from(segment.blocks.saturating_sub(before))
    }

    /// The booking has ended; its claim stays, for what is pending. Returns how many blocks no live one contains any more.
    pub(crate) fn end_claim(&mut self, slot: Slot, booking: BookingId, segment: Segment) -> u32 {
        let mut extent = self.extents.live(segment.extent);
        let Some(rare) = extent.rare.as_mut() else { return 0 };
        let mut left = 0;
        for claim in rare.claims.iter_mut().filter(|claim| claim.slot == slot) {
            claim.live &= claim.booking != booking;
            left = left.max(if claim.live { claim.blocks } else { 0 });
        }
        let before = rare.active.run_end(slot, 0).unwrap_or(0);
        if left < before {
            rare.active.remove(slot, left, before);
        }
        u32::from(before.saturating_sub(left))
    }

    /// Forgets a claim that is not live.
    pub(crate) fn drop_claim(&mut self, slot: Slot, booking: BookingId, segment: Segment) {
        if let Some(rare) = self.extents.live(segment.extent).rare.as_mut() {
            rare.claims.retain(|claim| (claim.slot, claim.booking) != (slot, booking));
            if rare.claims.is_empty() {
                rare.claims = Vec::new();
            }
        }
    }

    /// The target's claims on an extent, oldest first.
    pub(crate) fn claims(&self, slot: Slot, extent: ExtentId) -> &[Claim] {
        let claims = self.extents.get(extent).map_or(&[][..], |extent| extent.claims());
        let from = claims.partition_point(|claim| claim.slot < slot);
        let count = claims[from..].iter().take_while(|claim| claim.slot == slot).count();
        &claims[from..from + count]
    }

    /// Blocks before an extent.
    pub(crate) fn depth(&self, extent: ExtentId) -> u32 {
        self.extents.get(extent).map_or(0, |extent| extent.blocks.depth)
    }

    /// These positions of the segment are pending. Returns how many were not.
    pub(crate) fn set_pending(&mut self, slot: Slot, segment: Segment, blocks: &Bits) -> u32 {
        let slots = self.caches.len();
        let mut new = 0;
        for (start, end) in runs(segment, blocks) {
            let mut extent = self.extents.live(segment.extent);
            let pending = &mut extent.rare_mut().pending;
            new += u32::from(end - start) - pending.count(slot, start, end);
            pending.add(slot, start, end, slots);
        }
        new
    }

    /// These positions of the segment, all pending until now, are pending no more. Returns how many they are.
    pub(crate) fn unset_pending(&mut self, slot: Slot, segment: Segment, blocks: &Bits) -> u32 {
        let mut extent = self.extents.live(segment.extent);
        let Some(rare) = extent.rare.as_mut() else { return 0 };
        let mut gone = 0;
        for (start, end) in runs(segment, blocks) {
            rare.pending.remove(slot, start, end);
            gone += u32::from(end - start);
        }
        gone
    }

    /// Nothing of the extent is pending on the target any more.
    pub(crate) fn drop_pending(&mut self, slot: Slot, segment: Segment) {
        if let Some(rare) = self.extents.live(segment.extent).rare.as_mut() {
            rare.pending.remove_slot(slot);
        }
    }

    /// Frees what nobody needs of an extent, after its claims have changed.
    pub(crate) fn release(&mut self, extent: ExtentId) {
        self.trim(extent);
    }
}

/// Positions in a prompt, as runs of a segment's blocks.
fn runs(segment: Segment, blocks: &Bits) -> impl Iterator<Item = (u16, u16)> {
    let first = segment.first as usize;
    let within = blocks.within(segment.range());
    let runs: SmallVec<[(u16, u16); 4]> =
        within.runs().map(|run| ((run.start - first) as u16, (run.end - first) as u16)).collect();
    runs.into_iter()
}
